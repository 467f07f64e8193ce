"""The garbage collector: what is owned goes with its owners.

Background: dependents whose owners are all gone are deleted. Foreground: the owner waits for those that block it.
Orphan: dependents lose the reference before the owner goes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from borealis_local.errors import ApiError
from borealis_local.machinery.resources import Group
from borealis_local.server.api import CONTROL, Api
from borealis_local.server.removal import FOREGROUND, ORPHAN, DeleteOptions
from borealis_local.server.store import Change, Key

Object = Mapping[str, Any]
RETRY_S = 5.0  # after an admission policy denied a deletion
NEVER_OWNED = frozenset({Group("", "events"), Group("coordination.k8s.io", "leases")})


class Collector:
    """Deletes what nobody owns any more."""

    def __init__(self, api: Api) -> None:
        """Collect in this API."""
        self._api = api
        self._denied = False

    @staticmethod
    def matters(change: Change) -> bool:
        """Whether a change can make garbage: an end, the beginning of one, or a new owner."""
        return change.type == "DELETED" or "deletionTimestamp" in change.object["metadata"] or change.old is None

    async def sync(self) -> float | None:
        """Collect until nothing more follows."""
        self._denied = False
        objects = [(k, o) for k, o in self._api.store.everything() if k.group not in NEVER_OWNED]
        alive = {o["metadata"]["uid"] for _, o in objects}
        for key, obj in objects:
            owners = obj["metadata"].get("ownerReferences") or []
            gone = [o for o in owners if o["uid"] not in alive]
            if gone and len(gone) == len(owners):
                self._delete(key, obj)
            elif gone:
                self._disown(key, obj, {o["uid"] for o in gone})
        for key, obj in objects:
            if "deletionTimestamp" in obj["metadata"]:
                self._propagate(key, obj)
        return RETRY_S if self._denied else None

    def _propagate(self, key: Key, owner: Object) -> None:
        """Do what the finalizers of an owner that is being deleted ask for."""
        finalizers, uid = owner["metadata"].get("finalizers") or [], owner["metadata"]["uid"]
        if ORPHAN in finalizers:
            for child, obj in list(self._dependents(uid)):
                self._disown(child, obj, {uid})
            self._unhold(key, ORPHAN)
        elif FOREGROUND in finalizers:
            children = list(self._dependents(uid))
            for child, obj in children:
                if "deletionTimestamp" not in obj["metadata"]:
                    self._delete(child, obj, propagation="Foreground")
            if not any(_blocks(obj, uid) for _, obj in self._dependents(uid)):
                self._unhold(key, FOREGROUND)

    def _dependents(self, uid: str) -> Iterator[tuple[Key, Object]]:
        for key, obj in self._api.store.everything():
            if any(o["uid"] == uid for o in obj["metadata"].get("ownerReferences") or []):
                yield key, obj

    def _delete(self, key: Key, obj: Object, propagation: str = "Background") -> None:
        resource = self._api.registry.stored(key.group)
        if resource is None or "deletionTimestamp" in obj["metadata"]:
            return
        try:
            options = DeleteOptions(uid=obj["metadata"]["uid"], propagation=propagation)
            self._api.delete(resource, key.namespace, key.name, options)
        except ApiError as error:
            if error.is_denial:
                self._denied = True
            elif error.code not in (404, 409):
                raise

    def _disown(self, key: Key, obj: Object, gone: set[str]) -> None:
        kept = [o for o in obj["metadata"].get("ownerReferences") or [] if o["uid"] not in gone]
        self._update(key, obj, ownerReferences=kept)

    def _unhold(self, key: Key, finalizer: str) -> None:
        live = self._api.store.get(key)
        if live is not None:
            held = live["metadata"].get("finalizers") or []
            self._update(key, live, finalizers=[f for f in held if f != finalizer])

    def _update(self, key: Key, obj: Object, **metadata: Any) -> None:
        resource = self._api.registry.stored(key.group)
        if resource is not None:
            new = {**obj, "metadata": {**obj["metadata"], **metadata}}
            self._api.writes.update(resource, key.namespace, key.name, new, CONTROL)


def _blocks(obj: Object, uid: str) -> bool:
    return any(o["uid"] == uid and o.get("blockOwnerDeletion") for o in obj["metadata"]["ownerReferences"])
