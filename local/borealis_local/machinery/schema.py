"""Structural schemas of CRDs: prune what they do not know, fill in defaults, find what is wrong.

Wording and reasons of the causes are Kubernetes' own, so that a message learnt here is the one seen on a cluster.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from borealis_local.errors import Cause

Schema = Mapping[str, Any]
_ROOT = ("apiVersion", "kind", "metadata")
_EMPTY: Schema = {}


def prune(value: Any, schema: Schema, *, root: bool = False, path: str = "") -> tuple[Any, list[str]]:
    """Give the value without fields that the schema does not know, and their paths."""
    if isinstance(value, dict):
        return _prune_dict(value, schema, root=root, path=path)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        pairs = [prune(v, schema["items"], path=f"{path}[{i}]") for i, v in enumerate(value)]
        return [p for p, _ in pairs], [u for _, unknown in pairs for u in unknown]
    return value, []


def _prune_dict(value: dict[str, Any], schema: Schema, *, root: bool, path: str) -> tuple[Any, list[str]]:
    known: Schema = schema.get("properties", _EMPTY)
    free = schema.get("additionalProperties")
    rest: Schema = free if isinstance(free, Mapping) else _EMPTY
    keep_all = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or free is True
    embedded = root or schema.get("x-kubernetes-embedded-resource")
    result: dict[str, Any] = {}
    unknown: list[str] = []
    for key, part in value.items():
        below = f"{path}.{key}" if path else key
        if embedded and key in _ROOT:
            result[key] = part
        elif key in known or isinstance(free, Mapping):
            result[key], deeper = prune(part, known.get(key, rest), path=below)
            unknown += deeper
        elif keep_all:
            result[key] = part
        else:
            unknown.append(below)
    return result, unknown


def default(value: Any, schema: Schema) -> Any:
    """Give the value with the schema's defaults; a null that may not be null counts as left out."""
    if isinstance(value, dict):
        result = dict(value)
        for key, child in schema.get("properties", _EMPTY).items():
            missing = key not in result or (result[key] is None and not child.get("nullable"))
            if missing and "default" in child:
                result[key] = copy.deepcopy(child["default"])
            if key in result:
                result[key] = default(result[key], child)
        free = schema.get("additionalProperties")
        if isinstance(free, Mapping):
            known = schema.get("properties", _EMPTY)
            result |= {k: default(v, free) for k, v in result.items() if k not in known}
        return result
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [default(v, schema["items"]) for v in value]
    return value


def validate(value: Any, schema: Schema, path: str = "", *, root: bool = False) -> list[Cause]:
    """Give what is wrong with the value, all of it."""
    if value is None and schema.get("nullable"):
        return []
    wrong_type = _type_cause(value, schema, path)
    if wrong_type is not None:
        return [wrong_type]
    found = [*_enum(value, schema, path), *_logic(value, schema, path)]
    if isinstance(value, str):
        found += _string(value, schema, path)
    elif isinstance(value, dict):
        found += _object(value, schema, path, root=root)
    elif isinstance(value, list):
        found += _array(value, schema, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found += _number(value, schema, path)
    return found


def shown(value: Any) -> str:
    """Give a value as error messages print it."""
    if isinstance(value, dict):
        return '"object"'
    return '"array"' if isinstance(value, list) else json.dumps(value)


_NAMES = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object", type(None): "null"}


def kind_of(value: Any) -> str:
    """Give the JSON type; a float without fraction is an integer, as in Kubernetes."""
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return _NAMES[type(value)]


def _type_cause(value: Any, schema: Schema, path: str) -> Cause | None:
    found = kind_of(value)
    wanted = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        fits = found in ("integer", "string")
        wanted = "integer,string"
    else:
        fits = wanted is None or found == wanted or (wanted == "number" and found == "integer")
    if fits:
        return None
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return Cause(reason="FieldValueTypeInvalid", message=text, field=path)


def _bad(path: str, value: Any, rule: str) -> Cause:
    text = f"Invalid value: {shown(value)}: {path} in body {rule}"
    return Cause(reason="FieldValueInvalid", message=text, field=path)


def _enum(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    allowed: Sequence[Any] | None = schema.get("enum")
    if allowed is not None and value not in allowed:
        listed = ", ".join(json.dumps(v) for v in allowed)
        text = f"Unsupported value: {shown(value)}: supported values: {listed}"
        yield Cause(reason="FieldValueNotSupported", message=text, field=path)


def _logic(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf", ()):
        yield from validate(value, part, path)
    options = schema.get("anyOf")
    if options and not any(not validate(value, o, path) for o in options):
        yield _bad(path, value, "must validate at least one schema (anyOf)")
    options = schema.get("oneOf")
    if options and sum(not validate(value, o, path) for o in options) != 1:
        yield _bad(path, value, "must validate one and only one schema (oneOf)")
    if "not" in schema and not validate(value, schema["not"], path):
        yield _bad(path, value, "must not validate the schema (not)")


def _string(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    if len(value) > schema.get("maxLength", len(value)):
        text = f"Too long: may not be more than {schema['maxLength']} bytes"
        yield Cause(reason="FieldValueTooLong", message=text, field=path)
    if len(value) < schema.get("minLength", 0):
        yield _bad(path, value, f"should be at least {schema['minLength']} chars long")
    if "pattern" in schema and re.search(schema["pattern"], value) is None:
        yield _bad(path, value, f"should match '{schema['pattern']}'")
    if schema.get("format") == "date-time" and not re.match(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d", value):
        yield _bad(path, value, f"must be of type date-time: {shown(value)}")


def _number(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and schema.get("exclusiveMinimum") and value <= low:
        yield _bad(path, value, f"should be greater than {low}")
    elif low is not None and value < low:
        yield _bad(path, value, f"should be greater than or equal to {low}")
    if high is not None and schema.get("exclusiveMaximum") and value >= high:
        yield _bad(path, value, f"should be less than {high}")
    elif high is not None and value > high:
        yield _bad(path, value, f"should be less than or equal to {high}")
    if schema.get("multipleOf") and value % schema["multipleOf"]:
        yield _bad(path, value, f"should be a multiple of {schema['multipleOf']}")


def _object(value: dict[str, Any], schema: Schema, path: str, *, root: bool) -> Iterator[Cause]:
    known, free = schema.get("properties", _EMPTY), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield Cause(reason="FieldValueRequired", message="Required value", field=_join(path, name))
    if len(value) > schema.get("maxProperties", len(value)):
        most = schema["maxProperties"]
        yield Cause(
            reason="FieldValueTooMany", message=f"Too many: {len(value)}: must have at most {most} items", field=path
        )
    if len(value) < schema.get("minProperties", 0):
        yield _bad(path, value, f"should have at least {schema['minProperties']} properties")
    for key, part in value.items():
        if root and key in _ROOT:
            continue
        if key in known:
            yield from validate(part, known[key], _join(path, key))
        elif isinstance(free, Mapping):
            yield from validate(part, free, _join(path, key))


def _array(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    if len(value) > schema.get("maxItems", len(value)):
        text = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
        yield Cause(reason="FieldValueTooMany", message=text, field=path)
    if len(value) < schema.get("minItems", 0):
        yield _bad(path, value, f"should have at least {schema['minItems']} items")
    yield from _duplicates(value, schema, path)
    if isinstance(schema.get("items"), Mapping):
        for i, part in enumerate(value):
            yield from validate(part, schema["items"], f"{path}[{i}]")


def _duplicates(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if schema.get("x-kubernetes-list-type") not in ("map", "set"):
        return
    seen: set[str] = set()
    for i, part in enumerate(value):
        told = {k: part.get(k) for k in keys} if keys and isinstance(part, dict) else part
        mark = json.dumps(told, sort_keys=True)
        if mark in seen:
            text = f"Duplicate value: {mark if not isinstance(told, str) else json.dumps(told)}"
            yield Cause(reason="FieldValueDuplicate", message=text, field=f"{path}[{i}]")
        seen.add(mark)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
