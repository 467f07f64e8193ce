"""ValidatingAdmissionPolicies: which of them a request meets, and what the first one says that denies it.

As in Kubernetes, a policy without a binding does nothing, and an expression that fails denies unless the policy's
failurePolicy is Ignore. Parameters (`paramKind`) are refused when a policy is written, so that none is half obeyed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from borealis_local.errors import ApiError, Cause, denied
from borealis_local.machinery.cel import RuleFailed, RuleInvalid, bundled, compiled, evaluated, typed
from borealis_local.machinery.resources import Resource
from borealis_local.machinery.selectors import label_selector

Object = Mapping[str, Any]
GROUP: Final = "admissionregistration.k8s.io"
USER: Final = {"username": "borealis-local", "groups": ["system:masters", "system:authenticated"]}
_CODES: Final = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A write that is about to happen; `object` is None for a deletion, `old` for a creation.

    `name` is empty where a whole collection is deleted.
    """

    operation: str  # CREATE, UPDATE or DELETE
    resource: Resource
    namespace: str
    name: str
    object: Object | None
    old: Object | None
    subresource: str = ""
    dry_run: bool = False
    space: Object | None = None  # the Namespace, of a namespaced object


def check(policy: Object) -> list[Cause]:
    """Give what is wrong with a policy: expressions that do not compile, and what local mode has not."""
    spec = policy.get("spec") or {}
    found = []
    if spec.get("paramKind"):
        text = "Forbidden: local mode has no parameters of policies; write their values into the expressions"
        found.append(Cause(reason="FieldValueForbidden", message=text, field="spec.paramKind"))
    if not spec.get("validations"):
        text = "Required value: validations or auditAnnotations must contain at least one item"
        found.append(Cause(reason="FieldValueRequired", message=text, field="spec.validations"))
    for field, text in _expressions(spec):
        try:
            compiled(text)
        except RuleInvalid as error:
            told = f'Invalid value: "{text}": compilation failed: {error}'
            found.append(Cause(reason="FieldValueInvalid", message=told, field=field))
    return found


def _expressions(spec: Object) -> Iterator[tuple[str, str]]:
    for part, keys in (
        ("variables", ("expression",)),
        ("matchConditions", ("expression",)),
        ("validations", ("expression", "messageExpression")),
    ):
        for index, entry in enumerate(spec.get(part) or ()):
            yield from ((f"spec.{part}[{index}].{k}", str(entry[k])) for k in keys if entry.get(k))


def judge(request: Request, policies: Sequence[Object], bindings: Sequence[Object]) -> None:
    """ApiError with the words of the first policy that denies the request, if one does."""
    if request.resource.group == GROUP or request.subresource == "scale":  # no policy may lock out its own removal
        return
    for policy in policies:
        bound = [b for b in bindings if b["spec"]["policyName"] == policy["metadata"]["name"] and _meets(request, b)]
        if not bound or not _matches(policy["spec"].get("matchConstraints") or {}, request):
            continue
        refused = _refusal(policy, request)
        if refused is not None:
            raise _denied(policy, bound[0], request, *refused)


def _meets(request: Request, binding: Object) -> bool:
    spec = binding["spec"]
    limits = spec.get("matchResources")
    return "Deny" in spec.get("validationActions", ()) and (limits is None or _matches(limits, request, unset=True))


def _denied(policy: Object, binding: Object, request: Request, reason: str, message: str) -> ApiError:
    name, by = policy["metadata"]["name"], binding["metadata"]["name"]
    told = f"ValidatingAdmissionPolicy '{name}' with binding '{by}' denied request: {message}"
    resource = request.resource
    code = _CODES.get(reason, 422)
    return denied(resource.group, resource.plural, request.name, code=code, reason=reason, why=told)


# --- what a policy is about ---------------------------------------------------------------------------------------


def _matches(limits: Object, request: Request, *, unset: bool = False) -> bool:
    """Whether a request is within match constraints; `unset` says what no resource rules at all mean."""
    rules, exceptions = limits.get("resourceRules"), limits.get("excludeResourceRules") or ()
    chosen = any(_rule(r, request) for r in rules) if rules else unset
    return chosen and not any(_rule(r, request) for r in exceptions) and _selected(limits, request)


def _rule(rule: Object, request: Request) -> bool:
    resource = request.resource
    named = rule.get("resourceNames")
    scope = {"Namespaced": resource.namespaced, "Cluster": not resource.namespaced}.get(rule.get("scope", "*"), True)
    return (
        _listed(rule.get("operations", ()), request.operation)
        and _listed(rule.get("apiGroups", ()), resource.group)
        and _listed(rule.get("apiVersions", ()), resource.version)
        and any(_names_resource(r, resource.plural, request.subresource) for r in rule.get("resources", ()))
        and (not named or request.name in named)
        and scope
    )


def _listed(wanted: Sequence[str], found: str) -> bool:
    return "*" in wanted or found in wanted


def _names_resource(pattern: str, plural: str, subresource: str) -> bool:
    kind, _, part = pattern.partition("/")
    return kind in ("*", plural) and (part == subresource or (part == "*" and pattern != "*"))


def _selected(limits: Object, request: Request) -> bool:
    spaces, objects = limits.get("namespaceSelector"), limits.get("objectSelector")
    if spaces and request.space is not None and not label_selector(_labels(request.space), spaces):
        return False
    there = [o for o in (request.object, request.old) if o is not None]
    return not objects or any(label_selector(_labels(o), objects) for o in there)


def _labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


# --- what it says -------------------------------------------------------------------------------------------------


def _refusal(policy: Object, request: Request) -> tuple[str, str] | None:
    """Give reason and message of the first validation that does not hold, or None."""
    spec, context = policy["spec"], _context(request)
    lenient = spec.get("failurePolicy") == "Ignore"
    try:
        if not all(evaluated(c["expression"], context) for c in spec.get("matchConditions") or ()):
            return None
        variables: dict[str, Any] = {}
        for entry in spec.get("variables") or ():
            variables[entry["name"]] = evaluated(entry["expression"], {**context, "variables": bundled(variables)})
    except RuleFailed as error:
        return None if lenient else ("Invalid", str(error))
    context["variables"] = bundled(variables)
    for validation in spec.get("validations") or ():
        told = _broken(validation, context, lenient=lenient)
        if told is not None:
            return str(validation.get("reason") or "Invalid"), told
    return None


def _broken(validation: Object, context: Mapping[str, Any], *, lenient: bool) -> str | None:
    text = validation["expression"]
    try:
        if evaluated(text, context):
            return None
    except RuleFailed as error:
        return None if lenient else f"expression '{text}' resulted in error: {error}"
    try:
        if told := str(evaluated(validation.get("messageExpression") or "''", context)).strip():
            return told
    except RuleFailed:  # the fixed message stands in, as in Kubernetes
        pass
    return str(validation.get("message") or f"failed expression: {text}")


def _context(request: Request) -> dict[str, Any]:
    resource, schema = request.resource, request.resource.schema or {}
    kind = {"group": resource.group, "version": resource.version}
    told = {
        "operation": request.operation,
        "kind": {**kind, "kind": resource.kind},
        "resource": {**kind, "resource": resource.plural},
        "subResource": request.subresource,
        "name": request.name,
        "namespace": request.namespace,
        "dryRun": request.dry_run,
        "userInfo": USER,
    }
    return {
        "object": typed(request.object, schema),
        "oldObject": typed(request.old, schema),
        "namespaceObject": typed(request.space),
        "request": typed(told),
    }
