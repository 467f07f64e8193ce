"""Label and field selectors: text in, predicate out."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from borealis_local.errors import bad_request

Predicate = Callable[[Mapping[str, Any]], bool]
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?"
_SET = re.compile(rf"^(?P<key>{_NAME})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(rf"^(?P<key>{_NAME})\s*(?P<op>==|=|!=)\s*(?P<value>[^=!]*)$")
_EXISTS = re.compile(rf"^(?P<no>!?)\s*(?P<key>{_NAME})$")

FIELDS: Mapping[str, frozenset[str]] = {
    "Pod": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        }
    ),
    "Event": frozenset(
        {f"involvedObject.{k}" for k in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")}
        | {"reason", "reportingComponent", "source", "type"}
        | {f"regarding.{k}" for k in ("kind", "namespace", "name", "uid")}
    ),
    "Node": frozenset({"spec.unschedulable"}),
    "Secret": frozenset({"type"}),
    "Namespace": frozenset({"status.phase"}),
}


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return [t.strip() for t in re.split(r",(?![^(]*\))", text) if t.strip()]


def labels(text: str) -> Predicate:
    """Parse a label selector; the predicate takes a dict of labels. ApiError 400 on nonsense."""
    tests = [_label_test(t) for t in _split(text)]
    return lambda found: all(test(found) for test in tests)


def _label_test(term: str) -> Predicate:
    if match := _SET.match(term):
        key, wanted = match["key"], {v.strip() for v in match["values"].split(",")}
        if match["op"] == "in":
            return lambda found: found.get(key) in wanted
        return lambda found: found.get(key) not in wanted
    if match := _EQUAL.match(term):
        key, value = match["key"], match["value"].strip()
        if match["op"] == "!=":
            return lambda found: found.get(key) != value
        return lambda found: found.get(key) == value
    if match := _EXISTS.match(term):
        key, absent = match["key"], bool(match["no"])
        return lambda found: (key not in found) is absent
    raise bad_request(f"unable to parse requirement: {term}")


def fields(text: str, kind: str) -> Predicate:
    """Parse a field selector of `kind`; the predicate takes an object. ApiError 400 on fields unknown to it."""
    tests = [_field_test(t, kind) for t in _split(text)]
    return lambda obj: all(test(obj) for test in tests)


def _field_test(term: str, kind: str) -> Predicate:
    match = re.match(r"^([A-Za-z.]+)(==|=|!=)(.*)$", term)
    if match is None:
        raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    path, op, value = match.groups()
    if path not in ("metadata.name", "metadata.namespace") and path not in FIELDS.get(kind, ()):
        raise bad_request(f"field label not supported: {path}")
    steps = path.split(".")

    def test(obj: Mapping[str, Any]) -> bool:
        return (_text(_dig(obj, steps)) == value) is (op != "!=")

    return test


def _dig(value: Any, steps: list[str]) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def node_expression(labels_: Mapping[str, str], expression: Mapping[str, Any]) -> bool:
    """Whether labels meet one matchExpression of a node or label selector."""
    key, values = expression["key"], expression.get("values") or []
    found = labels_.get(key)
    match expression["operator"]:
        case "In":
            return found in values
        case "NotIn":
            return found not in values
        case "Exists":
            return key in labels_
        case "DoesNotExist":
            return key not in labels_
        case "Gt":
            return found is not None and int(found) > int(values[0])
        case "Lt":
            return found is not None and int(found) < int(values[0])
        case other:
            raise bad_request(f'"{other}" is not a valid selector operator')


def label_selector(labels_: Mapping[str, str], selector: Mapping[str, Any] | None) -> bool:
    """Whether labels meet a LabelSelector object; none selects nothing."""
    if selector is None:
        return False
    pairs = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    return all(labels_.get(k) == v for k, v in pairs.items()) and all(node_expression(labels_, e) for e in expressions)
