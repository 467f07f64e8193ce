"""What the API server knows of a kind: names, scope, subresources, and how its objects merge and print."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from borealis_local.machinery.schema import Schema
from borealis_local.machinery.shape import Shape


class Group(NamedTuple):
    """What objects are stored under: versions of a kind share it."""

    group: str
    plural: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `kubectl get`; `path` is a JSON path, or empty when code computes it."""

    name: str
    path: str = ""
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePaths:
    """Where the scale subresource finds its numbers."""

    spec: str
    status: str
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One served version of a kind."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    scale: ScalePaths | None = None
    generation: bool = False  # metadata.generation counts changes of the wanted state
    shape: Shape = field(default_factory=Shape)
    columns: tuple[Column, ...] = ()
    schema: Schema | None = None  # of custom resources
    storage_version: bool = True

    @property
    def store(self) -> Group:
        """Key of the kind in the store; both kinds of Event share one."""
        return Group("" if self.group == "events.k8s.io" else self.group, self.plural)

    @property
    def api_version(self) -> str:
        """`group/version`, or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Whether a CRD defines it."""
        return self.schema is not None

    @property
    def prefix(self) -> str:
        """Path of the group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"


def dig(value: Any, path: str) -> Any:
    """Give what a simple JSON path (`.spec.readers`) leads to, or None."""
    for step in path.strip(".").split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def bury(obj: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Give a copy of `obj` with `value` at a simple JSON path."""
    head, _, rest = path.strip(".").partition(".")
    inner = obj.get(head)
    below = bury(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value
    return {**obj, head: below}
