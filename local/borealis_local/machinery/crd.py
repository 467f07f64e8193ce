"""CustomResourceDefinitions: from a CRD object to the resources that it serves."""

from collections.abc import Mapping
from typing import Any

from borealis_local.errors import Cause
from borealis_local.machinery.cel import RuleInvalid, check_rules
from borealis_local.machinery.resources import Column, Resource, ScalePaths
from borealis_local.machinery.shape import of_schema

Object = Mapping[str, Any]
_NAME = Column(name="Name", path=".metadata.name", format="name", description="Name must be unique within a namespace.")
_AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date")


def served(crd: Object) -> list[Resource]:
    """Give a resource for each served version."""
    return [_version(crd["spec"], v) for v in crd["spec"]["versions"] if v.get("served")]


def _version(spec: Object, version: Object) -> Resource:
    names, subresources = spec["names"], version.get("subresources") or {}
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
    scale = subresources.get("scale")
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        status="status" in subresources,
        scale=_scale(scale) if scale else None,
        generation=True,
        shape=of_schema(schema, root=True),
        columns=_columns(version),
        schema=schema,
        storage_version=bool(version.get("storage")),
    )


def _scale(raw: Object) -> ScalePaths:
    return ScalePaths(
        spec=raw["specReplicasPath"], status=raw["statusReplicasPath"], selector=raw.get("labelSelectorPath", "")
    )


def _columns(version: Object) -> tuple[Column, ...]:
    extra = version.get("additionalPrinterColumns")
    if not extra:
        return (_NAME, _AGE)
    return (
        _NAME,
        *(
            Column(
                name=c["name"],
                path=c["jsonPath"],
                type=c.get("type", "string"),
                format=c.get("format", ""),
                description=c.get("description", ""),
                priority=c.get("priority", 0),
            )
            for c in extra
        ),
    )


def check(crd: Object) -> list[Cause]:
    """Give what is wrong with a CRD: its name, its versions, rules that do not compile."""
    spec = crd.get("spec") or {}
    required = [("spec.group", spec.get("group")), ("spec.names.plural", (spec.get("names") or {}).get("plural"))]
    required += [("spec.scope", spec.get("scope")), ("spec.versions", spec.get("versions"))]
    missing = [
        Cause(reason="FieldValueRequired", message="Required value", field=f) for f, value in required if not value
    ]
    if missing:
        return missing
    found = _name(crd) + _storage(spec)
    for index, version in enumerate(spec["versions"]):
        found += _schema(version, f"spec.versions[{index}].schema.openAPIV3Schema")
    return found


def _name(crd: Object) -> list[Cause]:
    wanted = f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
    name = crd["metadata"].get("name")
    if name == wanted:
        return []
    text = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
    return [Cause(reason="FieldValueInvalid", message=text, field="metadata.name")]


def _storage(spec: Object) -> list[Cause]:
    if sum(bool(v.get("storage")) for v in spec["versions"]) == 1:
        return []
    text = "Invalid value: must have exactly one version marked as storage version"
    return [Cause(reason="FieldValueInvalid", message=text, field="spec.versions")]


def _schema(version: Object, path: str) -> list[Cause]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        return [Cause(reason="FieldValueRequired", message="Required value: schemas are required", field=path)]
    try:
        check_rules(schema)
    except RuleInvalid as error:
        text = f"Invalid value: compilation failed: {error}"
        return [Cause(reason="FieldValueInvalid", message=text, field=f"{path}.x-kubernetes-validations")]
    return []


def established(crd: Object, now: str) -> dict[str, Any]:
    """Give the status of a CRD that is served."""
    spec = crd["spec"]
    old = {c["type"]: c for c in (crd.get("status") or {}).get("conditions", [])}
    wanted = (("NamesAccepted", "NoConflicts", "no conflicts found"),
              ("Established", "InitialNamesAccepted", "the initial names have been accepted"))  # fmt: skip
    conditions = [
        old.get(t) or {"type": t, "status": "True", "reason": r, "message": m, "lastTransitionTime": now}
        for t, r, m in wanted
    ]
    names = {"singular": spec["names"]["kind"].lower(), "listKind": spec["names"]["kind"] + "List", **spec["names"]}
    stored = [v["name"] for v in spec["versions"] if v.get("storage")]
    return {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}
