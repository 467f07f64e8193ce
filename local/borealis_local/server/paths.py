"""From a request's path to what it is about."""

from dataclasses import dataclass

from borealis_local.errors import no_such_path
from borealis_local.machinery.resources import Resource
from borealis_local.server.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An object, one of its subresources, or (without a name) a collection."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def target(path: str, registry: Registry) -> Target:
    """Read a path under /api or /apis that names a kind; ApiError 404 if none does."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and (group or rest[2] not in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    resource = registry.find(group, version, rest[0])
    if len(rest) > 3 or (namespace and not resource.namespaced):
        raise no_such_path()
    padded = [*rest[1:], "", ""]
    found = Target(resource=resource, namespace=namespace, name=padded[0], subresource=padded[1])
    if resource.namespaced and found.name and not namespace:
        raise no_such_path()
    return _checked(found)


def _checked(found: Target) -> Target:
    resource, subresource = found.resource, found.subresource
    known = {
        "": True,
        "status": resource.status,
        "scale": resource.scale is not None,
        "log": resource.kind == "Pod",
        "binding": resource.kind == "Pod",
        "finalize": resource.kind == "Namespace",
    }
    if not known.get(subresource, False):
        raise no_such_path()
    return found
