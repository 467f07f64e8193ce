"""How values merge: the part of a schema that server-side apply and strategic merge need.

A dict merges by key and a list is replaced as a whole, unless the shape says otherwise. Shapes come from a CRD's
schema or, for Kubernetes' own kinds, from the table in `builtin`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ListType = Literal["atomic", "set", "map"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Merge rules of one value and of those beneath it."""

    atomic: bool = False  # of a dict: replaced as a whole
    list_type: ListType = "atomic"
    keys: tuple[str, ...] = ()  # of a list of type map
    defaults: Mapping[str, Any] = field(default_factory=dict)  # for keys that an item leaves out
    fields: Mapping[str, "Shape"] = field(default_factory=dict)
    values: "Shape | None" = None  # of a dict with free keys
    unknown: bool = False  # keys that the schema does not name are kept, and free all the way down
    items: "Shape | None" = None

    def child(self, name: str) -> "Shape":
        """Give the shape of the field `name`."""
        return self.fields.get(name) or self.values or (UNKNOWN if self.unknown else ANY)

    def is_free(self, name: str) -> bool:
        """Whether `name` is a key of the user's own choice, not a field of the schema."""
        return name not in self.fields and (self.values is not None or self.unknown)

    @property
    def element(self) -> "Shape":
        """Shape of the items of a list."""
        return self.items or ANY

    def item_id(self, item: Any) -> str:
        """Give the path element that names `item` in a list of type map or set."""
        if self.list_type == "set":
            return "v:" + _compact(item)
        source = item if isinstance(item, Mapping) else {}
        found = {k: source.get(k, self.defaults.get(k)) for k in self.keys}
        return "k:" + _compact({k: v for k, v in found.items() if v is not None})


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


ANY = Shape()
ATOMIC = Shape(atomic=True)
UNKNOWN = Shape(unknown=True)


def keyed(*keys: str, item: Shape = ANY, **defaults: Any) -> Shape:
    """Shape of a list of type map."""
    return Shape(list_type="map", keys=keys, items=item, defaults=defaults)


def struct(**fields: Shape) -> Shape:
    """Shape of a dict with known fields."""
    return Shape(fields=fields)


STRINGS = Shape(values=ANY)
SET = Shape(list_type="set")
METADATA = struct(
    labels=STRINGS,
    annotations=STRINGS,
    finalizers=SET,
    ownerReferences=keyed("uid", item=ATOMIC),
)


def of_schema(schema: Mapping[str, Any], *, root: bool = False) -> Shape:
    """Read the merge rules out of a structural schema."""
    fields = {k: of_schema(v) for k, v in schema.get("properties", {}).items()}
    if root or schema.get("x-kubernetes-embedded-resource"):
        fields["metadata"] = METADATA
    values = schema.get("additionalProperties")
    items = schema.get("items")
    list_type: ListType = schema.get("x-kubernetes-list-type", "atomic")
    keys: Sequence[str] = schema.get("x-kubernetes-list-map-keys", ())
    inner = (items or {}).get("properties", {})
    return Shape(
        atomic=schema.get("x-kubernetes-map-type") == "atomic",
        list_type=list_type,
        keys=tuple(keys),
        defaults={k: inner[k]["default"] for k in keys if "default" in inner.get(k, {})},
        fields=fields,
        values=of_schema(values) if isinstance(values, Mapping) else None,
        items=of_schema(items) if isinstance(items, Mapping) else None,
        unknown=bool(schema.get("x-kubernetes-preserve-unknown-fields")) or values is True,
    )
