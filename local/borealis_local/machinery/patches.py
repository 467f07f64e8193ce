"""The three older patches: JSON (RFC 6902), merge (RFC 7386) and Kubernetes' strategic merge.

Each gives a new object and leaves its arguments alone. What makes strategic merge strategic is the shape: lists of
type map merge by their first key, sets by value.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from borealis_local.errors import ApiError, bad_request
from borealis_local.machinery.shape import Shape


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply RFC 7386: null removes, dicts merge, anything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


# --- RFC 6902 ----------------------------------------------------------------------------------------------------


def json_patch(target: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """Apply RFC 6902; ApiError 422 if an operation does not fit, as Kubernetes answers."""
    document = copy.deepcopy(target)
    for operation in operations:
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            text = f"the server rejected our request due to an error in our request: {operation}: {error}"
            raise ApiError(422, "Invalid", text, {}) from error
    return document


def _operate(document: Any, operation: Mapping[str, Any]) -> Any:
    op, path = operation["op"], _pointer(operation["path"])
    match op:
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _add(_remove(document, path), path, copy.deepcopy(operation["value"]))
        case "move":
            source = _pointer(operation["from"])
            value = _get(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, _pointer(operation["from"]))))
        case "test":
            if _get(document, path) != operation["value"]:
                raise ValueError(f"testing value {operation['path']} failed")
            return document
        case _:
            raise ValueError(f"unexpected kind: {op}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"invalid path {text}")
    return [p.replace("~1", "/").replace("~0", "~") for p in text.split("/")[1:]]


def _step(node: Any, key: str) -> Any:
    return node[int(key)] if isinstance(node, list) else node[key]


def _get(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = _step(document, key)
    return document


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if not isinstance(parent, list):
        parent[path[-1]] = value
        return document
    index = len(parent) if path[-1] == "-" else int(path[-1])
    if not 0 <= index <= len(parent):
        raise IndexError(f"index {index} out of range")
    parent.insert(index, value)
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        return None
    parent = _get(document, path[:-1])
    _step(parent, path[-1])
    del parent[int(path[-1]) if isinstance(parent, list) else path[-1]]
    return document


# --- strategic merge ---------------------------------------------------------------------------------------------

_ORDER, _DROP = "$setElementOrder/", "$deleteFromPrimitiveList/"


def strategic_patch(target: Any, patch: Any, shape: Shape) -> Any:
    """Apply a strategic merge patch: `$patch`, `$retainKeys`, `$deleteFromPrimitiveList` are obeyed."""
    if isinstance(patch, dict):
        return _strategic_dict(target if isinstance(target, dict) else {}, patch, shape)
    if isinstance(patch, list):
        return _strategic_list(target if isinstance(target, list) else [], patch, shape)
    return copy.deepcopy(patch)


def _strategic_dict(target: dict[str, Any], patch: dict[str, Any], shape: Shape) -> dict[str, Any]:
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    if directive == "replace":
        return {k: copy.deepcopy(v) for k, v in patch.items() if k != "$patch"}
    retained = patch.get("$retainKeys")
    result = {k: v for k, v in target.items() if retained is None or k in retained}
    for key, value in patch.items():
        if key.startswith(_DROP):
            name = key.removeprefix(_DROP)
            result[name] = [v for v in result.get(name, []) if v not in value]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        else:
            result[key] = strategic_patch(result.get(key), value, shape.child(key))
    return result


def _strategic_list(target: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    if {"$patch": "replace"} in patch:
        return [copy.deepcopy(v) for v in patch if v != {"$patch": "replace"}]
    if shape.list_type == "set":
        return target + [v for v in patch if v not in target]
    if shape.list_type != "map":
        return copy.deepcopy(patch)
    key, result = shape.keys[0], list(target)
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, v in enumerate(result) if v.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [v for v in result if v.get(key) != item[key]]
        elif at is None:
            result.append(strategic_patch({}, item, shape.element))
        else:
            result[at] = strategic_patch(result[at], item, shape.element)
    return result
