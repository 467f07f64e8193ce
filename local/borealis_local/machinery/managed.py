"""managedFields: who wrote which field last, kept for every write, applied or not.

An entry is known by (manager, operation, apiVersion, subresource). A plain write takes what it changes from all others;
an apply owns exactly what its configuration says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from borealis_local.machinery.fields import FieldSet, compare, from_v1, to_v1
from borealis_local.machinery.shape import Shape

Object = dict[str, Any]
SYSTEM = frozenset(
    {
        "name",
        "namespace",
        "generateName",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """One writer of fields, as an entry of managedFields names it."""

    manager: str
    operation: str  # Apply | Update
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an author owns, and since when."""

    fields: FieldSet
    time: str


Owners = dict[Author, Entry]


def read(obj: Mapping[str, Any]) -> Owners:
    """Parse `metadata.managedFields`."""
    owners: Owners = {}
    for raw in obj.get("metadata", {}).get("managedFields") or []:
        if not raw:
            continue
        author = Author(
            manager=raw.get("manager", ""),
            operation=raw.get("operation", "Update"),
            api_version=raw.get("apiVersion", ""),
            subresource=raw.get("subresource", ""),
        )
        owners[author] = Entry(fields=from_v1(raw.get("fieldsV1") or {}), time=raw.get("time", ""))
    return owners


def write(obj: Object, owners: Owners) -> Object:
    """Give `obj` with these owners: appliers first, then by time, as Kubernetes orders them."""

    def order(item: tuple[Author, Entry]) -> tuple[bool, str, str]:
        return (item[0].operation != "Apply", item[1].time, item[0].manager)

    listed = [_raw(a, e) for a, e in sorted(owners.items(), key=order) if e.fields]
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if k != "managedFields"}
    if listed:
        metadata["managedFields"] = listed
    return {**obj, "metadata": metadata}


def _raw(author: Author, entry: Entry) -> Object:
    raw: Object = {
        "manager": author.manager,
        "operation": author.operation,
        "apiVersion": author.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_v1(entry.fields),
    }
    if author.subresource:
        raw["subresource"] = author.subresource
    return raw


def ownable(obj: Mapping[str, Any]) -> Object:
    """Give the part of an object that somebody can own."""
    kept = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if k not in SYSTEM}
    return {**kept, "metadata": metadata} if metadata else kept


def after_update(live: Mapping[str, Any], new: Object, author: Author, *, shape: Shape, now: str) -> Object:
    """Give `new` with managedFields as a plain write by `author` leaves them."""
    before, after = ownable(live), ownable(new)
    change = compare(before, after, shape)
    taken = (change.added | change.modified) - {("f:metadata",)}
    touched = taken | change.removed
    sent = new.get("metadata", {}).get("managedFields")
    owners = {} if sent in ([], [{}]) else read(live)
    kept = {
        a: Entry(fields=(e.fields - change.removed) if a == author else (e.fields - touched), time=e.time)
        for a, e in owners.items()
    }
    if taken:
        mine = kept.get(author)
        kept[author] = Entry(fields=(mine.fields if mine else frozenset()) | taken, time=now)
    return write(new, kept)
