"""What a written object must pass: names, schema, rules, and what Kubernetes refuses to change."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from borealis_local.errors import Cause, bad_request, invalid
from borealis_local.machinery import cel, crd, defaults, policies, schema
from borealis_local.machinery.quantities import requests
from borealis_local.machinery.resources import Group, Resource, dig
from borealis_local.server.store import Key, Store

Object = dict[str, Any]
_NAMESPACES = Group("", "namespaces")
_POLICIES = Group(policies.GROUP, "validatingadmissionpolicies")
_BINDINGS = Group(policies.GROUP, "validatingadmissionpolicybindings")
_BLOCKING = (
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
)
_NOT_CHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


_OMITTED_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences")


def prepare(resource: Resource, obj: Object) -> tuple[Object, list[str]]:
    """Give the object pruned and with defaults, and the unknown fields that were dropped."""
    obj = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if v or k not in _OMITTED_EMPTY}}
    if resource.schema is None:
        return defaults.fill(resource.kind, obj), []
    pruned, unknown = schema.prune(obj, resource.schema, root=True)
    filled = schema.default(pruned, resource.schema)
    return _without_nulls(filled, resource.schema), unknown


def pruned(resource: Resource, obj: Object) -> tuple[Object, list[str]]:
    """Give an apply configuration without unknown fields, and those."""
    if resource.schema is None:
        return obj, []
    known, unknown = schema.prune(obj, resource.schema, root=True)
    return known, unknown


def _without_nulls(obj: Object, node: Mapping[str, Any]) -> Object:
    """Drop the nulls of fields that are not nullable, as the structural default pass does."""
    known = node.get("properties", {})
    result = {}
    for key, value in obj.items():
        child = known.get(key, {})
        if value is None and not child.get("nullable") and "default" in child:
            continue
        result[key] = _without_nulls(value, child) if isinstance(value, dict) else value
    return result


def refuse_unknown(resource: Resource, unknown: list[str]) -> None:
    """ApiError 400 naming the unknown fields, for fieldValidation=Strict."""
    if unknown:
        listed = ", ".join(f'unknown field "{u}"' for u in unknown)
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {listed}"
        )


def check(resource: Resource, obj: Object, old: Object | None) -> None:
    """ApiError 422 with everything that is wrong with the object."""
    found = _metadata(resource, obj, old)
    if resource.schema is not None:
        found += schema.validate(obj, resource.schema, root=True) + _scale(resource, obj)
        found += _rules(resource.schema, obj, old, blocked=any(c.reason in _BLOCKING for c in found))
    elif resource.kind == "CustomResourceDefinition":
        found += crd.check(obj)
    elif resource.kind == "ValidatingAdmissionPolicy":
        found += policies.check(obj)
    elif resource.kind == "Pod" and old is None:
        _check_quantities(obj)
    elif old is not None:
        found += defaults.frozen(resource.kind, old, obj)
    if found:
        raise invalid(resource.group, resource.kind, obj["metadata"].get("name", ""), found)


def _check_quantities(pod: Object) -> None:
    try:
        requests(pod)
    except ValueError as error:
        text = f'Pod in version "v1" cannot be handled as a Pod: {error}'
        raise bad_request(text) from error


def _scale(resource: Resource, obj: Object) -> list[Cause]:
    """Give what Kubernetes says, besides the schema, of a number that the scale subresource reads."""
    if resource.scale is None:
        return []
    wanted = dig(obj, resource.scale.spec)
    if not isinstance(wanted, int) or wanted >= 0:
        return []
    text = f"Invalid value: {wanted}: should be a non-negative integer"
    return [Cause(reason="FieldValueInvalid", message=text, field=resource.scale.spec)]


def judge(store: Store, request: policies.Request) -> None:
    """ApiError with the words of an admission policy that denies the request."""
    there = store.list(_POLICIES)
    if there:
        space = store.get(Key(_NAMESPACES, "", request.namespace)) if request.namespace else None
        policies.judge(replace(request, space=space), there, store.list(_BINDINGS))


def _rules(node: schema.Schema, obj: Object, old: Object | None, *, blocked: bool) -> list[Cause]:
    """Give the broken rules; rules are not tried on an object of the wrong form."""
    if not cel.has_rules(node):
        return []
    if blocked:
        return [Cause(reason="FieldValueInvalid", message=f"Invalid value: null: {_NOT_CHECKED}", field="<nil>")]
    return list(cel.violations(obj, node, old if old is not None else cel.ABSENT))


def _metadata(resource: Resource, obj: Object, old: Object | None) -> list[Cause]:
    metadata, found = obj["metadata"], []
    if old is None:
        rule, pattern = (_LABEL_RULE, _LABEL) if resource.kind == "Service" else (_SUBDOMAIN_RULE, _SUBDOMAIN)
        name, longest = str(metadata.get("name", "")), 63 if resource.kind == "Service" else 253
        if not pattern.match(name):
            found.append(_invalid("metadata.name", name, rule))
        if len(name) > longest:
            found.append(_invalid("metadata.name", name, f"must be no more than {longest} characters"))
    for value in (metadata.get("labels") or {}).values():
        if not isinstance(value, str) or not _LABEL_VALUE.match(value):
            found.append(_invalid("metadata.labels", str(value), _VALUE_RULE))
        elif len(value) > 63:
            found.append(_invalid("metadata.labels", value, "must be no more than 63 bytes"))
    return found + _finalizers(metadata, old)


def _finalizers(metadata: Object, old: Object | None) -> list[Cause]:
    if old is None or "deletionTimestamp" not in old["metadata"]:
        return []
    fresh = [f for f in metadata.get("finalizers") or [] if f not in (old["metadata"].get("finalizers") or [])]
    if not fresh:
        return []
    listed = ", ".join(f'"{f}"' for f in fresh)
    text = (
        "Forbidden: no new finalizers can be added if the object is being deleted, "
        f"found new finalizers []string{{{listed}}}"
    )
    return [Cause(reason="FieldValueForbidden", message=text, field="metadata.finalizers")]


def _invalid(field: str, value: str, rule: str) -> Cause:
    return Cause(reason="FieldValueInvalid", message=f'Invalid value: "{value}": {rule}', field=field)
