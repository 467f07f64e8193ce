"""Create, update and patch: one path from a wanted object to the stored one.

Every write goes through `_settle`, so that versions, generation, managedFields, validation and the end of a deletion
are the same whatever verb asked. All of it is synchronous: a write is atomic because nothing else runs meanwhile.
"""

import copy
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from borealis_local.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    not_found,
)
from borealis_local.machinery import apply as ssa
from borealis_local.machinery import crd, managed, patches
from borealis_local.machinery.managed import Author
from borealis_local.machinery.policies import Request
from borealis_local.machinery.resources import Group, Resource
from borealis_local.server import admission
from borealis_local.server.store import Key, Store

Object = dict[str, Any]
NAMESPACES = Group("", "namespaces")
_BORN_WITHOUT_STATUS = ("Pod", "PersistentVolumeClaim", "Namespace", "Service")
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
APPLY, JSON_PATCH = "application/apply-patch+yaml", "application/json-patch+json"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Who writes, and how."""

    manager: str = "unknown"
    force: bool = False
    dry_run: bool = False
    strict: bool = False
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)  # unknown fields, for the caller to tell


def stamp() -> str:
    """Give the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Writes:
    """The writing verbs over a store."""

    def __init__(self, store: Store, *, service_address: Callable[[set[str]], str]) -> None:
        """Write to `store`; `service_address` picks a free cluster IP, given those in use."""
        self._store = store
        self._service_address = service_address

    # --- verbs ----------------------------------------------------------------------------------------------------

    def create(self, resource: Resource, namespace: str, obj: Object, options: Options) -> Object:
        """Store a new object."""
        obj = self._addressed(resource, namespace, obj)
        name = obj["metadata"]["name"]
        if self._store.get(Key(resource.store, namespace, name)) is not None:
            raise already_exists(resource.group, resource.plural, name)
        if obj["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        obj = self._born(resource, namespace, obj)
        author = self._author(resource, "Update", options)
        obj = self._prepared(resource, obj, options)
        obj = managed.after_update({}, obj, author, shape=resource.shape, now=stamp())
        return self._settle(resource, None, obj, options)

    def update(self, resource: Resource, namespace: str, name: str, obj: Object, options: Options) -> Object:
        """Replace an object (or its status) that is there."""
        live = self.read(resource, namespace, name)
        _check_identity(resource, name, namespace, obj)
        return self._replace(resource, live, obj, options)

    def patch(self, resource: Resource, namespace: str, name: str, kind: str, body: bytes, options: Options) -> Object:
        """Patch an object; `kind` is the content type."""
        if kind == APPLY:
            return self._apply(resource, namespace, name, body, options)
        live = self.read(resource, namespace, name)
        try:
            patch = json.loads(body)
        except ValueError as error:
            raise bad_request(f"error decoding patch: {error}") from error
        if kind == STRATEGIC and resource.custom:
            raise unsupported_media(kind, f"{JSON_PATCH}, {MERGE}, {APPLY}")
        if kind == JSON_PATCH:
            new = patches.json_patch(live, patch)
        elif kind == MERGE:
            new = patches.merge_patch(live, patch)
        elif kind == STRATEGIC:
            new = patches.strategic_patch(live, patch, resource.shape)
        else:
            raise unsupported_media(kind, f"{JSON_PATCH}, {MERGE}, {APPLY}")
        _check_identity(resource, name, namespace, new)
        return self._replace(resource, live, new, options)

    def read(self, resource: Resource, namespace: str, name: str) -> Object:
        """Give the stored object; ApiError 404 if there is none."""
        found = self._store.get(Key(resource.store, namespace, name))
        if found is None:
            raise not_found(resource.group, resource.plural, name)
        return found

    # --- the common path ------------------------------------------------------------------------------------------

    def _apply(self, resource: Resource, namespace: str, name: str, body: bytes, options: Options) -> Object:
        config = yaml.safe_load(body)
        if not isinstance(config, dict) or not config.get("apiVersion") or not config.get("kind"):
            raise bad_request("apiVersion and kind must be set in an apply patch")
        metadata = config.setdefault("metadata", {}) or {}
        if metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        config = {**config, "metadata": {"name": name, **metadata}}
        _check_identity(resource, name, namespace, config)
        live = self._store.get(Key(resource.store, namespace, name))
        if live is None and options.subresource:
            raise not_found(resource.group, resource.plural, name)
        _check_preconditions(resource, name, metadata, live)
        config = _part_for(resource, config, options)
        config, unknown = admission.pruned(resource, config)
        self._tell_unknown(resource, unknown, options)
        author = self._author(resource, "Apply", options)
        if live is None:
            config = self._addressed(resource, namespace, config)
        merged = ssa.apply(live, config, author, shape=resource.shape, force=options.force, now=stamp())
        if merged is live:
            return live
        merged = self._born(resource, namespace, merged) if live is None else _restored(live, merged)
        return self._settle(resource, live, admission.prepare(resource, merged)[0], options)

    def _replace(self, resource: Resource, live: Object, new: Object, options: Options) -> Object:
        _check_preconditions(resource, live["metadata"]["name"], new.get("metadata") or {}, live)
        new = _restored(live, new)
        new = self._prepared(resource, _part_over(resource, live, new, options), options)
        author = self._author(resource, "Update", options)
        new = managed.after_update(live, new, author, shape=resource.shape, now=stamp())
        return self._settle(resource, live, new, options)

    def _settle(self, resource: Resource, live: Object | None, new: Object, options: Options) -> Object:
        """Validate, count the generation, store; remove what was only waiting for its last finalizer."""
        namespace, name = new["metadata"].get("namespace", ""), new["metadata"]["name"]
        new = self._completed(resource, live, new)
        admission.check(resource, new, live)
        admission.judge(self._store, _asked(resource, live, new, options))
        if live is not None and resource.generation and _wanted(resource, live) != _wanted(resource, new):
            new["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1
        if resource.kind == "CustomResourceDefinition":
            new["status"] = crd.established(new, stamp())
        if live is not None and _without_version(new) == _without_version(live):
            return live
        if options.dry_run:
            return new
        key = Key(resource.store, namespace, name)
        if live is not None and finished(new) and resource.kind != "Namespace":
            return self._store.delete(key, new)
        return self._store.put(key, new)

    def _completed(self, resource: Resource, live: Object | None, new: Object) -> Object:
        if resource.kind != "Service" or new["spec"].get("clusterIP"):
            return new
        if live is not None:
            addresses = {k: live["spec"][k] for k in ("clusterIP", "clusterIPs") if k in live["spec"]}
        else:
            services = self._store.list(resource.store)
            address = self._service_address({s["spec"].get("clusterIP", "") for s in services})
            addresses = {"clusterIP": address, "clusterIPs": [address]}
        return {**new, "spec": {**new["spec"], **addresses}}

    def _prepared(self, resource: Resource, obj: Object, options: Options) -> Object:
        filled, unknown = admission.prepare(resource, obj)
        self._tell_unknown(resource, unknown, options)
        return filled

    def _tell_unknown(self, resource: Resource, unknown: list[str], options: Options) -> None:
        if options.strict:
            admission.refuse_unknown(resource, unknown)
        options.warnings.extend(f'unknown field "{u}"' for u in unknown)

    def _author(self, resource: Resource, operation: str, options: Options) -> Author:
        return Author(
            manager=options.manager,
            operation=operation,
            api_version=resource.api_version,
            subresource=options.subresource,
        )

    # --- birth ----------------------------------------------------------------------------------------------------

    def _addressed(self, resource: Resource, namespace: str, obj: Object) -> Object:
        """Give the object with a name, in a namespace that is there."""
        metadata = dict(obj.get("metadata") or {})
        name = metadata.get("name")
        if not name and metadata.get("generateName"):
            name = metadata["generateName"][:58] + "".join(secrets.choice(_ALPHABET) for _ in range(5))
        metadata["name"] = name or ""
        if resource.namespaced:
            if metadata.get("namespace", namespace) != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = namespace
            self._check_namespace(resource, namespace, metadata["name"])
        base = {"apiVersion": resource.api_version, "kind": resource.kind}
        obj = {**base, **copy.deepcopy(obj), "metadata": metadata}
        if resource.status and (resource.custom or resource.kind in _BORN_WITHOUT_STATUS):
            obj.pop("status", None)
        return obj

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        found = self._store.get(Key(NAMESPACES, "", namespace))
        if found is None:
            raise not_found("", "namespaces", namespace)
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource.group, resource.plural, name, why)

    def _born(self, resource: Resource, namespace: str, obj: Object) -> Object:
        metadata = {k: v for k, v in obj["metadata"].items() if k not in ("deletionTimestamp", "selfLink")}
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp()}
        if resource.namespaced:
            metadata["namespace"] = namespace
        if resource.generation:
            metadata["generation"] = 1
        return {**obj, "metadata": metadata}


def finished(obj: Object) -> bool:
    """Whether an object that is being deleted waits for nothing more."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def unsupported_media(kind: str, known: str) -> ApiError:
    """415 for a content type."""
    text = f"the body of the request was in an unknown format ({kind}) - accepted media types include: {known}"
    return ApiError(415, "UnsupportedMediaType", text, {})


def _asked(resource: Resource, live: Object | None, new: Object, options: Options) -> Request:
    """Give a write as admission policies see it."""
    return Request(
        operation="CREATE" if live is None else "UPDATE",
        resource=resource,
        namespace=new["metadata"].get("namespace", ""),
        name=new["metadata"]["name"],
        object=new,
        old=live,
        subresource=options.subresource,
        dry_run=options.dry_run,
    )


def _check_identity(resource: Resource, name: str, namespace: str, obj: Object) -> None:
    metadata = obj.get("metadata") or {}
    if metadata.get("name", name) != name:
        raise bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    if metadata.get("namespace", namespace) != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    told = (obj.get("apiVersion", resource.api_version), obj.get("kind", resource.kind))
    if told != (resource.api_version, resource.kind):
        raise bad_request(f"invalid object type: {told[0]}, Kind={told[1]}")


def _check_preconditions(resource: Resource, name: str, metadata: Object, live: Object | None) -> None:
    if live is None:
        if metadata.get("uid") or metadata.get("resourceVersion"):
            raise conflict(resource.group, resource.plural, name, "uid mismatch: the object no longer exists")
        return
    uid, version = metadata.get("uid"), metadata.get("resourceVersion")
    if uid and uid != live["metadata"]["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['metadata']['uid']}"
        raise conflict(resource.group, resource.plural, name, why)
    if version and version not in ("0", live["metadata"]["resourceVersion"]):
        raise conflict(resource.group, resource.plural, name)


_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion",
         "name", "namespace", "generateName")  # fmt: skip


def _restored(live: Object, new: Object) -> Object:
    """Give `new` with the metadata that no client may change."""
    metadata = {k: v for k, v in (new.get("metadata") or {}).items() if k not in _KEPT}
    metadata |= {k: live["metadata"][k] for k in _KEPT if k in live["metadata"]}
    return {**new, "apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}


def _part_for(resource: Resource, config: Object, options: Options) -> Object:
    """Give the part of an apply configuration that this endpoint takes."""
    if options.subresource == "status":
        metadata = {k: v for k, v in config["metadata"].items() if k in ("name", "namespace")}
        kept = {k: v for k, v in config.items() if k in ("apiVersion", "kind", "status")}
        return {**kept, "metadata": metadata}
    return {k: v for k, v in config.items() if k != "status"} if resource.status else config


def _part_over(resource: Resource, live: Object, new: Object, options: Options) -> Object:
    """Give what an update through this endpoint makes of the live object."""
    if not resource.status:
        return new
    if options.subresource == "status":
        return _with(live, "status", new)
    return _with(new, "status", live)


def _with(obj: Object, key: str, source: Object) -> Object:
    kept = {k: v for k, v in obj.items() if k != key}
    return {**kept, key: source[key]} if key in source else kept


def _wanted(resource: Resource, obj: Object) -> Object:
    dropped = ("metadata", "status") if resource.status else ("metadata",)
    return {k: v for k, v in obj.items() if k not in dropped}


def _without_version(obj: Object) -> Object:
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}
