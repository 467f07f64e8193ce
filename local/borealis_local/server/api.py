"""The API in process: what the HTTP face, the kubelet and the controllers all call.

Calls are synchronous and atomic; callers get stored objects and must not change them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from borealis_local.errors import ApiError, Cause, invalid
from borealis_local.machinery import selectors
from borealis_local.machinery.resources import Resource, bury, dig
from borealis_local.server import removal
from borealis_local.server.registry import Registry
from borealis_local.server.removal import DeleteOptions
from borealis_local.server.store import Store
from borealis_local.server.writes import Object, Options, Writes

CONTROL = Options(manager="borealis-local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects of a kind a list or watch is about."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def predicate(self, resource: Resource) -> Callable[[Mapping[str, Any]], bool]:
        """Give the test of an object; ApiError 400 on a bad selector."""
        by_label = selectors.labels(self.labels)
        by_field = selectors.fields(self.fields, resource.kind)
        space = self.namespace

        def chosen(obj: Mapping[str, Any]) -> bool:
            metadata = obj["metadata"]
            return (
                (not space or metadata.get("namespace") == space)
                and by_label(metadata.get("labels") or {})
                and by_field(obj)
            )

        return chosen


class Api:
    """Verbs over one store."""

    def __init__(self, store: Store, *, service_address: Callable[[set[str]], str]) -> None:
        """Serve `store`."""
        self.store = store
        self.registry = Registry(store)
        self.writes = Writes(store, service_address=service_address)

    def kind(self, api_version: str, kind: str) -> Resource:
        """Give a kind by apiVersion and kind; ApiError 404 if it is not served."""
        found = self.registry.of_kind(api_version, kind)
        if found is None:
            text = f'no matches for kind "{kind}" in version "{api_version}"'
            raise ApiError(404, "NotFound", text, {})
        return found

    def list(self, resource: Resource, selection: Selection) -> list[Object]:
        """Give the chosen objects."""
        chosen = selection.predicate(resource)
        return [o for o in self.store.list(resource.store, selection.namespace) if chosen(o)]

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> tuple[Object, bool]:
        """Delete an object; give it, and whether it is gone."""
        return removal.delete(self.store, self.writes, resource, namespace, name, options)

    def patch_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        """Write an object's status from inside, over whatever version is there; the object itself if it is gone."""
        metadata = obj["metadata"]
        try:
            live = self.writes.read(resource, metadata.get("namespace", ""), metadata["name"])
        except ApiError:
            return obj
        if live["metadata"]["uid"] != metadata["uid"]:
            return obj
        options = Options(manager="borealis-local", subresource="status")
        new = {**live, "status": status}
        return self.writes.update(resource, metadata.get("namespace", ""), metadata["name"], new, options)

    # --- scale ----------------------------------------------------------------------------------------------------

    def scale(self, resource: Resource, obj: Object) -> Object:
        """Give the Scale of an object."""
        paths = resource.scale
        if paths is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource", {})
        status: Object = {"replicas": dig(obj, paths.status) or 0}
        if paths.selector and dig(obj, paths.selector):
            status["selector"] = dig(obj, paths.selector)
        kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        metadata = {k: obj["metadata"][k] for k in kept if k in obj["metadata"]}
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": {"replicas": dig(obj, paths.spec) or 0},
            "status": status,
        }

    def rescale(self, resource: Resource, obj: Object, scale: Object, options: Options) -> Object:
        """Write the wanted number of a Scale; give the new Scale."""
        if resource.scale is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource", {})
        wanted = (scale.get("spec") or {}).get("replicas", 0)
        if not isinstance(wanted, int) or wanted < 0:
            text = f"Invalid value: {wanted}: must be greater than or equal to 0"
            cause = Cause(reason="FieldValueInvalid", message=text, field="spec.replicas")
            raise invalid("autoscaling", "Scale", obj["metadata"]["name"], [cause])
        told = scale.get("metadata") or {}
        versions = {k: told[k] for k in ("uid", "resourceVersion") if k in told}
        new = bury(obj, resource.scale.spec, wanted)
        kept = {k: v for k, v in obj["metadata"].items() if k not in ("uid", "resourceVersion")}
        new["metadata"] = {**kept, **versions}
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        return self.scale(resource, self.writes.update(resource, namespace, name, new, options))
