"""OpenAPI v3 documents, no more than kubectl needs to validate, apply and explain."""

from collections.abc import Iterable
from typing import Any

from borealis_local.machinery.resources import Resource

Object = dict[str, Any]
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def index(resources: Iterable[Resource]) -> Object:
    """Give /openapi/v3."""
    prefixes = sorted({r.prefix.lstrip("/") for r in resources})
    return {"paths": {p: {"serverRelativeURL": f"/openapi/v3/{p}?hash=0"} for p in prefixes}}


def document(resources: Iterable[Resource], prefix: str) -> Object | None:
    """Give the document of one group and version (`apis/group/version`), or None."""
    found = [r for r in resources if r.prefix.lstrip("/") == prefix]
    if not found:
        return None
    paths: Object = {}
    for resource in found:
        paths |= _paths(resource)
    schemas = {_name(r): _schema(r) for r in found}
    schemas[_META] = {"type": "object", "description": "Standard object's metadata."}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.33.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _gvk(resource: Resource) -> Object:
    return {"group": resource.group, "kind": resource.kind, "version": resource.version}


def _name(resource: Resource) -> str:
    reverse = ".".join(reversed((resource.group or "core.api.k8s.io").split(".")))
    return f"{reverse}.{resource.version}.{resource.kind}"


def _schema(resource: Resource) -> Object:
    base: Object = dict(resource.schema) if resource.schema else {"description": f"{resource.kind} of Kubernetes."}
    known = {
        "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"allOf": [{"$ref": f"#/components/schemas/{_META}"}], "description": "Standard metadata."},
    }
    properties = {**base.get("properties", {}), **known}
    return {**base, "type": "object", "properties": properties, "x-kubernetes-group-version-kind": [_gvk(resource)]}


def _parameter(name: str, where: str = "query") -> Object:
    return {"name": name, "in": where, "schema": {"type": "string", "uniqueItems": True}}


def _paths(resource: Resource) -> Object:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{resource.prefix}{scope}/{resource.plural}"
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_name(resource)}"}}}
    answer = {"200": {"description": "OK", "content": content}}
    query = [_parameter(n) for n in ("dryRun", "fieldManager", "fieldValidation", "force")]

    def operation(action: str) -> Object:
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(resource),
            "parameters": query if action not in ("get", "list", "delete") else [],
            "responses": answer,
        }

    return {
        collection: {"get": operation("list"), "post": operation("post")},
        collection + "/{name}": {a: operation(a) for a in ("get", "put", "patch", "delete")},
    }
