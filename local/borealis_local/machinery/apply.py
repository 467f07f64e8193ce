"""Server-side apply: merge a configuration into the live object, field by field owned.

Rules, as in Kubernetes' structured-merge-diff: what the configuration says is set and owned by the applier; a field
that another owner holds with another value is a conflict unless forced; a field that the applier owned and no longer
says is removed unless somebody else owns it too.
"""

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from borealis_local.errors import ApiError
from borealis_local.machinery import managed
from borealis_local.machinery.fields import FieldSet, Path, compare, is_field, named, owned_by_apply, under
from borealis_local.machinery.managed import Author, Entry, Object, Owners
from borealis_local.machinery.shape import Shape


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """Lay `config` over `live`: dicts by key, keyed lists by item, anything else replaced."""
    if isinstance(config, dict) and isinstance(live, dict) and not shape.atomic:
        merged = dict(live)
        for key, value in config.items():
            merged[key] = merge(live.get(key), value, shape.child(key))
        return merged
    if isinstance(config, list) and isinstance(live, list) and shape.list_type != "atomic":
        there = {shape.item_id(v): v for v in live}
        wanted = {shape.item_id(v): v for v in config}
        order = merged_order(list(there), list(wanted))
        return [_merged_item(there.get(i), wanted.get(i), shape.element) for i in order]
    return copy.deepcopy(config)


def _merged_item(live: Any, config: Any, shape: Shape) -> Any:
    if config is None:
        return live
    return copy.deepcopy(config) if live is None else merge(live, config, shape)


def merged_order(live: Sequence[str], config: Sequence[str]) -> list[str]:
    """Give the order of a merged list: that of the configuration, with what only the live list has in between."""
    shared = [i for i in config if i in set(live)]
    mine, theirs = deque(live), deque(config)
    result: list[str] = []
    while mine or theirs:
        if mine and theirs and mine[0] == theirs[0]:
            mine.popleft()
        elif mine and theirs and mine[0] in config and shared and shared[0] != mine[0]:
            mine.popleft()  # it comes in its turn
            continue
        elif mine and mine[0] not in config:
            result.append(mine.popleft())
            continue
        elif mine and mine[0] in result:
            mine.popleft()
        if theirs:
            result.append(theirs.popleft())
            if shared and shared[0] == result[-1]:
                shared.pop(0)
    return result


def without(value: Any, paths: FieldSet, kept: FieldSet, shape: Shape, at: Path = ()) -> Any:
    """Give `value` less these paths.

    A container that thereby becomes empty goes too; one in which somebody still owns something (`kept`) becomes null,
    which most schemas then refuse: that is how Kubernetes does it.
    """
    if isinstance(value, dict) and not shape.atomic:
        left = {}
        for key, part in value.items():
            below = (*at, f"f:{key}")
            rest = _less(part, paths, kept, shape.child(key), below)
            if rest is not _GONE:
                left[key] = rest
        return left
    if isinstance(value, list) and shape.list_type != "atomic":
        rests = (_less(v, paths, kept, shape.element, (*at, shape.item_id(v))) for v in value)
        return [r for r in rests if r is not _GONE]
    return value


_GONE = object()


def _less(part: Any, paths: FieldSet, kept: FieldSet, shape: Shape, below: Path) -> Any:
    if below in paths:
        return _GONE
    if not under(paths, below):
        return part
    rest = without(part, paths, kept, shape, below)
    if rest in ({}, []) and part not in ({}, []):
        return None if below in kept or under(kept, below) else _GONE
    return rest


def _drop_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _drop_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_drop_nulls(v) for v in value]
    return value


def _removals(last: FieldSet, now: FieldSet, others: FieldSet, shape: Shape) -> FieldSet:
    """Paths to take out of the object: dropped by the applier and held by nobody.

    A field of the schema is held by who owns anything beneath it; a list item or a free key by its own owner alone.
    """
    gone = last - now - others
    kept = now | others
    doomed = {p for p in gone if not (is_field(p, shape) and under(kept, p))}
    return frozenset(p for p in doomed if not _names_kept_item(p, kept))


def _names_kept_item(path: Path, kept: FieldSet) -> bool:
    """Whether `path` is a key of a list item that stays."""
    if len(path) < 2 or not path[-2].startswith("k:"):
        return False
    return f'"{path[-1][2:]}":' in path[-2] and path[:-1] in kept


def apply(live: Object | None, config: Object, author: Author, *, shape: Shape, force: bool, now: str) -> Object:
    """Give the object after `author` applied `config`; `live` itself if that changes nothing.

    Raises ApiError 409 with a cause per field that another owner holds with another value.
    """
    base: Object = live if live is not None else {k: config[k] for k in ("apiVersion", "kind")}
    config = _drop_nulls(config)
    wanted = managed.ownable(config)
    claim = owned_by_apply(wanted, shape) - {()}
    merged = merge(base, {**wanted, "metadata": _mergeable_metadata(config, fresh=live is None)}, shape)
    owners = managed.read(base)
    previous = owners.pop(author, None)
    others = frozenset[Path]().union(*(e.fields for e in owners.values()))
    doomed = _removals(previous.fields if previous else frozenset(), claim, others, shape)
    result = without(merged, doomed, claim | others, shape) if doomed else merged
    result.setdefault("metadata", merged["metadata"])
    owners = _settle(owners, base, result, shape=shape, force=force)
    same = live is not None and previous is not None and previous.fields == claim and _equal(result, live)
    if same:
        return base
    owners[author] = Entry(fields=claim, time=now)
    return managed.write(result, owners)


def _mergeable_metadata(config: Mapping[str, Any], *, fresh: bool) -> Object:
    metadata = config.get("metadata", {})
    dropped = managed.SYSTEM - {"name", "namespace"} if fresh else managed.SYSTEM
    return {k: v for k, v in metadata.items() if k not in dropped}


def _equal(a: Object, b: Object) -> bool:
    return managed.write(a, {}) == managed.write(b, {})


def _settle(owners: Owners, base: Object, merged: Object, *, shape: Shape, force: bool) -> Owners:
    """Take contested paths from their owners if forced, else raise the conflict."""
    change = compare(managed.ownable(base), managed.ownable(merged), shape)
    touched = change.modified | change.added
    contested = {a: e.fields & touched for a, e in owners.items()}
    contested = {a: f for a, f in contested.items() if f}
    if contested and not force:
        raise _conflicts(contested)
    dropped = touched | change.removed
    return {a: Entry(fields=e.fields - dropped, time=e.time) for a, e in owners.items() if e.fields - dropped}


def _conflicts(contested: Mapping[Author, FieldSet]) -> ApiError:
    found = [(_who(a), p) for a, fields in contested.items() for p in sorted(fields)]
    causes = [{"reason": "FieldManagerConflict", "message": w, "field": named(p)} for w, p in found]
    if len(found) == 1:
        text = f"Apply failed with 1 conflict: {found[0][0]}: {named(found[0][1])}"
    else:
        lines = []
        for author, fields in contested.items():
            lines += [
                f"{_who(author).replace('conflict', 'conflicts', 1)}:",
                *(f"- {named(p)}" for p in sorted(fields)),
            ]
        text = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", text, {"causes": causes})


def _who(author: Author) -> str:
    tail = f' with subresource "{author.subresource}"' if author.subresource else ""
    return f'conflict with "{author.manager}"{tail} using {author.api_version}'
