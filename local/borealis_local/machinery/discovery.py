"""Discovery documents: which groups, versions and kinds there are."""

from collections.abc import Iterable
from typing import Any

from borealis_local.machinery.resources import Resource

Object = dict[str, Any]
VERSION: Object = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0+borealis-local",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2025-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]


def _groups(resources: Iterable[Resource]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for resource in resources:
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    return found


def core_versions() -> Object:
    """Give /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group(name: str, versions: list[str]) -> Object:
    """Give one APIGroup."""
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(resources: Iterable[Resource]) -> Object:
    """Give /apis."""
    found = [group(n, v) for n, v in _groups(resources).items() if n]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def resource_list(resources: Iterable[Resource], group_name: str, version: str) -> Object | None:
    """Give the APIResourceList of a group and version, or None if there is none."""
    found = [r for r in resources if (r.group, r.version) == (group_name, version)]
    if not found:
        return None
    listed = [entry for r in found for entry in _entries(r)]
    name = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}


def _entries(resource: Resource) -> list[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": sorted(_READ + _WRITE),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    base = {"singularName": "", "namespaced": resource.namespaced}
    if resource.status:
        name = f"{resource.plural}/status"
        entries.append({"name": name, **base, "kind": resource.kind, "verbs": ["get", "patch", "update"]})
    if resource.scale:
        scale = {"group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]}
        entries.append({"name": f"{resource.plural}/scale", **base, **scale})
    if resource.kind == "Pod":
        entries.append({"name": "pods/log", **base, "kind": "Pod", "verbs": ["get"]})
        entries.append({"name": "pods/binding", **base, "kind": "Binding", "verbs": ["create"]})
    return entries
