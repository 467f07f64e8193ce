"""Deletion: preconditions, grace, finalizers, propagation.

An object goes when nothing holds it: no finalizer, and for a pod on a node no grace left. What depends on it is the
garbage collector's business (`control.garbage`), driven by the finalizers set here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from borealis_local.errors import bad_request, conflict
from borealis_local.machinery.policies import Request
from borealis_local.machinery.resources import Resource
from borealis_local.server import admission
from borealis_local.server.store import Key, Store
from borealis_local.server.writes import Object, Writes, finished

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
CRD_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """The body or the query of a DELETE."""

    grace: int | None = None
    propagation: str = "Background"
    uid: str = ""
    version: str = ""
    dry_run: bool = False
    collection: bool = False  # the object is one of many that a request deletes

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> "DeleteOptions":
        """Read a DeleteOptions object; ApiError 400 on an unknown propagation policy."""
        wanted = raw.get("preconditions") or {}
        propagation = raw.get("propagationPolicy") or ("Orphan" if raw.get("orphanDependents") else "Background")
        if propagation not in ("Background", "Foreground", "Orphan"):
            raise bad_request(f'invalid propagationPolicy: "{propagation}"')
        grace = raw.get("gracePeriodSeconds")
        return cls(
            grace=int(grace) if grace is not None else None,
            propagation=propagation,
            uid=wanted.get("uid") or "",
            version=wanted.get("resourceVersion") or "",
            dry_run=bool(raw.get("dryRun")),
        )


def delete(
    store: Store, writes: Writes, resource: Resource, namespace: str, name: str, options: DeleteOptions
) -> tuple[Object, bool]:
    """Delete an object; give it as it is now, and whether it is gone."""
    live = writes.read(resource, namespace, name)
    _check_preconditions(resource, name, live, options)
    admission.judge(store, _asked(resource, live, options))
    key = Key(resource.store, namespace, name)
    doomed = _marked(resource, live, options)
    if options.dry_run:
        return doomed, False
    if finished(doomed) and resource.kind != "Namespace":
        return store.delete(key, doomed), True
    if doomed == live:
        return live, False
    return store.put(key, doomed), False


def _asked(resource: Resource, live: Object, options: DeleteOptions) -> Request:
    """Give a deletion as admission policies see it."""
    return Request(
        operation="DELETE",
        resource=resource,
        namespace=live["metadata"].get("namespace", ""),
        name="" if options.collection else live["metadata"]["name"],
        object=None,
        old=live,
        dry_run=options.dry_run,
    )


def _check_preconditions(resource: Resource, name: str, live: Object, options: DeleteOptions) -> None:
    metadata = live["metadata"]
    for label, wanted, found in (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.version, metadata["resourceVersion"]),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {found}"
            raise conflict(resource.group, resource.plural, name, why)


def _marked(resource: Resource, live: Object, options: DeleteOptions) -> Object:
    """Give the object with deletionTimestamp, grace, and the finalizer of its propagation."""
    grace = _grace(resource, live, options)
    metadata = dict(live["metadata"])
    if "deletionTimestamp" not in metadata:
        end = datetime.now(UTC) + timedelta(seconds=grace)
        metadata["deletionTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionGracePeriodSeconds"] = grace
    metadata["finalizers"] = _finalizers(resource, metadata.get("finalizers") or [], options)
    if not metadata["finalizers"]:
        del metadata["finalizers"]
    marked = {**live, "metadata": metadata}
    if resource.kind == "Namespace":
        marked["status"] = {**live.get("status", {}), "phase": "Terminating"}
    return marked


def _finalizers(resource: Resource, held: list[str], options: DeleteOptions) -> list[str]:
    extra = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(options.propagation, [])
    if resource.kind == "CustomResourceDefinition":
        extra = [CRD_CLEANUP]
    return [*held, *(f for f in extra if f not in held)]


def _grace(resource: Resource, live: Object, options: DeleteOptions) -> int:
    """Seconds that a pod on a node gets; all else goes at once."""
    if resource.kind != "Pod" or not live["spec"].get("nodeName"):
        return 0
    if live.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace is not None:
        return max(0, options.grace)
    return int(live["spec"].get("terminationGracePeriodSeconds", 30))


def status_of(resource: Resource, obj: Object) -> Object:
    """Give the Status that a finished deletion answers with."""
    details = {"name": obj["metadata"]["name"], "kind": resource.plural, "uid": obj["metadata"]["uid"]}
    if resource.group:
        details["group"] = resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
