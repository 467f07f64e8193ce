"""CEL rules of CRDs (`x-kubernetes-validations`), by cel-python.

A rule that mentions `oldSelf` is a transition rule: it runs only where the old object has a value in the same place
(items of keyed lists are matched by key). A rule whose evaluation fails is a broken rule, as in Kubernetes.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError

from borealis_local.errors import Cause
from borealis_local.machinery.schema import Schema, kind_of
from borealis_local.machinery.shape import of_schema

_NO_SCHEMA: Schema = {}
_RULES = "x-kubernetes-validations"
_REASONS = {"FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate", "FieldValueInvalid"}


class RuleInvalid(ValueError):
    """A rule does not compile."""


class RuleFailed(ValueError):
    """The evaluation of a rule ended in an error."""


def _text(value: Any) -> str:
    return str(value)


_FUNCTIONS: Mapping[str, Any] = {
    "lowerAscii": lambda s: celtypes.StringType(_text(s).lower()),
    "upperAscii": lambda s: celtypes.StringType(_text(s).upper()),
    "trim": lambda s: celtypes.StringType(_text(s).strip()),
    "split": lambda s, by: celtypes.ListType([celtypes.StringType(p) for p in _text(s).split(_text(by))]),
    "join": lambda parts, by="": celtypes.StringType(_text(by).join(_text(p) for p in parts)),
    "replace": lambda s, old, new: celtypes.StringType(_text(s).replace(_text(old), _text(new))),
    "substring": lambda s, a, b=None: celtypes.StringType(_text(s)[int(a) : None if b is None else int(b)]),
    "indexOf": lambda s, part: celtypes.IntType(_text(s).find(_text(part))),
    "find": lambda s, p: celtypes.StringType(m[0] if (m := re.search(_text(p), _text(s))) else ""),
    "sum": lambda xs: sum(xs, celtypes.IntType(0)),
    "min": min,
    "max": max,
}


@lru_cache(maxsize=1024)
def compiled(rule: str) -> celpy.Runner:
    """Give the program of an expression; RuleInvalid if it does not compile."""
    environment = celpy.Environment()
    try:
        return environment.program(environment.compile(rule), functions=dict(_FUNCTIONS))
    except CELParseError as error:
        raise RuleInvalid(f"{rule}: {error}") from error


def evaluated(rule: str, context: Mapping[str, Any]) -> Any:
    """Give what an expression makes of a context of typed values; RuleFailed if it ends in an error."""
    try:
        return compiled(rule).evaluate(dict(context))
    except CELEvalError as error:
        raise RuleFailed(str(error.args[0])) from error


def has_rules(schema: Schema) -> bool:
    """Whether there is a rule anywhere in a schema."""
    inner = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return bool(schema.get(_RULES)) or any(has_rules(c) for c in inner if isinstance(c, Mapping))


def check_rules(schema: Schema) -> None:
    """Compile every rule in a schema; RuleInvalid on the first that does not."""
    for rule in schema.get(_RULES, ()):
        compiled(rule["rule"])
    inner = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for child in inner:
        if isinstance(child, Mapping):
            check_rules(child)


def typed(value: Any, schema: Schema = _NO_SCHEMA) -> Any:
    """Give a JSON value as CEL sees it under its schema: integers of a number field are doubles."""
    if schema.get("type") == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return celtypes.DoubleType(value)
    if isinstance(value, float) and value.is_integer() and schema.get("type") == "integer":
        return celtypes.IntType(int(value))
    if isinstance(value, dict):
        known, free = schema.get("properties", {}), schema.get("additionalProperties")
        rest = free if isinstance(free, Mapping) else {}
        pairs = {celtypes.StringType(k): typed(v, known.get(k, rest)) for k, v in value.items()}
        return celtypes.MapType(pairs)
    if isinstance(value, list):
        return celtypes.ListType([typed(v, schema.get("items") or {}) for v in value])
    return json_to_cel(value)


def bundled(values: Mapping[str, Any]) -> Any:
    """Give values that are typed already as one map."""
    return celtypes.MapType({celtypes.StringType(k): v for k, v in values.items()})


ABSENT = object()


def violations(value: Any, schema: Schema, old: Any = ABSENT, path: str = "") -> Iterator[Cause]:
    """Give a cause for each rule, here and beneath, that the value breaks."""
    if value is None:
        return
    for rule in schema.get(_RULES, ()):
        yield from _broken(rule, value, schema, old, path)
    if isinstance(value, dict):
        yield from _beneath_dict(value, schema, old, path)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        yield from _beneath_list(value, schema, old, path)


def _beneath_dict(value: dict[str, Any], schema: Schema, old: Any, path: str) -> Iterator[Cause]:
    known, free = schema.get("properties", {}), schema.get("additionalProperties")
    was = old if isinstance(old, dict) else {}
    for key, part in value.items():
        child = known.get(key, free)
        if isinstance(child, Mapping):
            yield from violations(part, child, was.get(key, ABSENT), f"{path}.{key}" if path else key)


def _beneath_list(value: list[Any], schema: Schema, old: Any, path: str) -> Iterator[Cause]:
    shape = of_schema(schema)
    was: dict[str, Any] = {}
    if shape.list_type == "map" and isinstance(old, list):
        was = {shape.item_id(v): v for v in old}
    for i, part in enumerate(value):
        before = was.get(shape.item_id(part), ABSENT) if was else ABSENT
        yield from violations(part, schema["items"], before, f"{path}[{i}]")


def _broken(rule: Mapping[str, Any], value: Any, schema: Schema, old: Any, path: str) -> Iterator[Cause]:
    text = rule["rule"]
    context = {"self": typed(value, schema)}
    if re.search(r"\boldSelf\b", text):
        if old is ABSENT or old is None:
            return
        context["oldSelf"] = typed(old, schema)
    try:
        holds = bool(evaluated(text, context))
        told = _message(rule, context)
    except RuleFailed as error:
        holds, told = False, f"rule evaluation error: {error}"
    if not holds:
        at = path + rule.get("fieldPath", "")
        reason = rule.get("reason", "FieldValueInvalid")
        yield Cause(
            reason=reason if reason in _REASONS else "FieldValueInvalid",
            message=_worded(reason, schema.get("type") or kind_of(value), told),
            field=at.lstrip(".") or "<nil>",
        )


def _message(rule: Mapping[str, Any], context: dict[str, Any]) -> str:
    if "messageExpression" in rule:
        try:
            return str(evaluated(rule["messageExpression"], context))
        except RuleFailed:
            pass
    return str(rule.get("message") or f"failed rule: {rule['rule']}")


def _worded(reason: str, kind: str, told: str) -> str:
    """Give a cause's text; Kubernetes shows the type of the value that breaks a rule, not the value."""
    if reason == "FieldValueForbidden":
        return f"Forbidden: {told}"
    if reason == "FieldValueRequired":
        return f"Required value: {told}"
    head = "Duplicate value" if reason == "FieldValueDuplicate" else "Invalid value"
    return f'{head}: "{kind}": {told}'
