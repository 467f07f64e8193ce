"""Ends that take their contents along: namespaces, CRDs; and old events."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from borealis_local.errors import ApiError
from borealis_local.machinery.resources import Group
from borealis_local.server.api import CONTROL, Api
from borealis_local.server.removal import CRD_CLEANUP, DeleteOptions
from borealis_local.server.store import Change, Key

Object = Mapping[str, Any]
NAMESPACES, EVENTS = Group("", "namespaces"), Group("", "events")
CRDS = Group("apiextensions.k8s.io", "customresourcedefinitions")
EVENT_LIFE = timedelta(hours=1)
SWEEP_S, RETRY_S = 60.0, 5.0  # RETRY_S: after an admission policy denied a deletion


class Cleanup:
    """Empties what is being deleted."""

    def __init__(self, api: Api) -> None:
        """Clean this API."""
        self._api = api
        self._denied = False

    @staticmethod
    def matters(change: Change) -> bool:
        """Whether something is being deleted, or was."""
        return change.type == "DELETED" or "deletionTimestamp" in change.object["metadata"]

    async def sync(self) -> float | None:
        """Empty namespaces and CRDs that are being deleted; drop old events."""
        self._denied = False
        for namespace in self._api.store.list(NAMESPACES):
            if "deletionTimestamp" in namespace["metadata"]:
                self._empty_namespace(namespace["metadata"]["name"])
        for crd in self._api.store.list(CRDS):
            if CRD_CLEANUP in crd["metadata"].get("finalizers", ()):
                self._empty_crd(crd)
        self._drop_events()
        return RETRY_S if self._denied else SWEEP_S

    def _empty_namespace(self, name: str) -> None:
        contents = [(k, o) for k, o in self._api.store.everything() if k.namespace == name]
        for key, obj in contents:
            self._delete(key, obj)
        if not any(k.namespace == name for k, _ in self._api.store.everything()):
            self._api.store.delete(Key(NAMESPACES, "", name))

    def _empty_crd(self, crd: Object) -> None:
        group = Group(crd["spec"]["group"], crd["spec"]["names"]["plural"])
        for obj in self._api.store.list(group):
            self._delete(Key(group, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]), obj)
        if self._api.store.list(group):
            return
        held = [f for f in crd["metadata"]["finalizers"] if f != CRD_CLEANUP]
        new = {**crd, "metadata": {**crd["metadata"], "finalizers": held}}
        resource = self._api.kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        self._api.writes.update(resource, "", crd["metadata"]["name"], new, CONTROL)

    def _delete(self, key: Key, obj: Object) -> None:
        resource = self._api.registry.stored(key.group)
        if resource is None or "deletionTimestamp" in obj["metadata"]:
            return
        try:
            self._api.delete(resource, key.namespace, key.name, DeleteOptions())
        except ApiError as error:
            if not error.is_denial:
                raise
            self._denied = True

    def _drop_events(self) -> None:
        oldest = (datetime.now(UTC) - EVENT_LIFE).strftime("%Y-%m-%dT%H:%M:%SZ")
        for event in self._api.store.list(EVENTS):
            metadata = event["metadata"]
            if metadata["creationTimestamp"] < oldest:
                self._api.store.delete(Key(EVENTS, metadata["namespace"], metadata["name"]))
