"""Sets of field paths: who owns what, in Kubernetes' FieldsV1 form, and what differs between two objects.

A path is a tuple of FieldsV1 elements (`f:name`, `k:{"name":"x"}`, `v:"x"`). A set holds leaves and, where somebody
made the container itself, containers.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from borealis_local.machinery.shape import Shape

Path: TypeAlias = tuple[str, ...]
FieldSet: TypeAlias = frozenset[Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Paths that a change touches."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet


def to_v1(paths: Iterable[Path]) -> dict[str, Any]:
    """Give the FieldsV1 tree of a set."""
    members = set(paths)
    root: dict[str, Any] = {}
    for path in sorted(members):
        node = root
        for depth, element in enumerate(path, start=1):
            node = node.setdefault(element, {})
            if depth < len(path) and path[:depth] in members:
                node.setdefault(".", {})
    return root


def from_v1(tree: Mapping[str, Any], prefix: Path = ()) -> FieldSet:
    """Read `to_v1`."""
    found: set[Path] = set()
    for element, below in tree.items():
        if element == ".":
            found.add(prefix)
        elif below:
            found |= from_v1(below, (*prefix, element))
        else:
            found.add((*prefix, element))
    return frozenset(found)


def named(path: Path) -> str:
    """Give a path as errors print it: `.spec.ports[port=80,protocol="TCP"].name`."""
    return "".join(f".{e[2:]}" if e.startswith("f:") else f"[{_inner(e)}]" for e in path)


def _inner(element: str) -> str:
    body = element[2:]
    if element.startswith("k:"):
        return ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(body).items())
    return "=" + body


def parts(value: Any, shape: Shape) -> Iterator[tuple[str, Any, Shape]] | None:
    """Give the separately owned parts of a value, or None if it is owned as a whole."""
    if isinstance(value, dict) and not shape.atomic:
        return ((f"f:{k}", v, shape.child(k)) for k, v in value.items())
    if isinstance(value, list) and shape.list_type != "atomic":
        return ((shape.item_id(v), v, shape.element) for v in value)
    return None


def owned_by_apply(value: Any, shape: Shape, path: Path = ()) -> FieldSet:
    """Give the paths that an applier of `value` owns: leaves, items of keyed lists, free keys, empty containers."""
    inner = parts(value, shape)
    if inner is None:
        return frozenset({path})
    found: set[Path] = set()
    for element, part, part_shape in inner:
        below = (*path, element)
        free = element.startswith("f:") and shape.is_free(element[2:])
        if part == {} or part is None or free or not element.startswith("f:"):
            found.add(below)
        if part != {}:  # an empty list with items of their own is owned by nobody
            found |= owned_by_apply(part, part_shape, below)
    return frozenset(found)


def everything(value: Any, shape: Shape, path: Path) -> FieldSet:
    """Give every path at and beneath `path`, containers included."""
    found = {path}
    for element, part, part_shape in parts(value, shape) or ():
        found |= everything(part, part_shape, (*path, element))
    return frozenset(found)


def compare(old: Any, new: Any, shape: Shape) -> Difference:
    """Give the paths by which `new` differs from `old`."""
    added: set[Path] = set()
    modified: set[Path] = set()
    removed: set[Path] = set()

    def walk(a: Any, b: Any, at: Shape, path: Path) -> None:
        if isinstance(a, (dict, list)) and b is None:
            b = type(a)()  # an emptied container is null, and no change of the container
        left, right = parts(a, at), parts(b, at)
        if left is None or right is None or type(a) is not type(b):
            if a != b or type(a) is not type(b):
                modified.add(path)
                removed.update(everything(a, at, path) - {path})
                added.update(everything(b, at, path) - {path})
            return
        was = {e: (v, s) for e, v, s in left}
        now = {e: (v, s) for e, v, s in right}
        for element in was.keys() - now.keys():
            removed.update(everything(*was[element], (*path, element)))
        for element in now.keys() - was.keys():
            added.update(everything(*now[element], (*path, element)))
        for element in was.keys() & now.keys():
            walk(was[element][0], now[element][0], now[element][1], (*path, element))

    walk(old, new, shape, ())
    return Difference(added=frozenset(added), modified=frozenset(modified), removed=frozenset(removed))


def is_field(path: Path, shape: Shape) -> bool:
    """Whether a path ends in a field that its schema names, not in a list item or a free key."""
    named_by_schema = True
    for element in path:
        if element.startswith("f:"):
            named_by_schema = not shape.is_free(element[2:])
            shape = shape.child(element[2:])
        else:
            named_by_schema, shape = False, shape.element
    return named_by_schema


def under(paths: Iterable[Path], prefix: Path) -> bool:
    """Whether any path lies strictly beneath `prefix`."""
    return any(len(p) > len(prefix) and p[: len(prefix)] == prefix for p in paths)
