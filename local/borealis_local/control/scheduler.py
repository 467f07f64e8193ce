"""Binding pods to nodes, one at a time, so that each choice sees the one before."""

from collections.abc import Mapping
from typing import Any

from borealis_local.control.placement import Cluster, Placed, place
from borealis_local.control.provisioner import PROVISIONER
from borealis_local.machinery.resources import Group
from borealis_local.server.api import CONTROL, Api
from borealis_local.server.store import Key
from borealis_local.server.writes import stamp

Object = Mapping[str, Any]
PODS, NODES = Group("", "pods"), Group("", "nodes")
CLAIMS, VOLUMES = Group("", "persistentvolumeclaims"), Group("", "persistentvolumes")
CLASSES = Group("storage.k8s.io", "storageclasses")
GROUPS = frozenset({PODS, NODES, CLAIMS, VOLUMES, CLASSES})


class Scheduler:
    """Places every pod that has no node yet."""

    def __init__(self, api: Api) -> None:
        """Schedule over this API."""
        self._api = api

    async def sync(self) -> float | None:
        """Place what can be placed, and say of the rest why it cannot."""
        for pod in self._api.store.list(PODS):
            if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]:
                self._schedule(pod)
        return None

    def _schedule(self, pod: Object) -> None:
        missing = [c for c in _claims(pod) if self._claim(pod, c) is None]
        if missing:
            self._unschedulable(pod, f'persistentvolumeclaim "{missing[0]}" not found')
            return
        store = self._api.store
        if any(self._never_bound(pod, c) for c in _claims(pod)):
            count = len(store.list(NODES))
            told = f"0/{count} nodes are available: pod has unbound immediate PersistentVolumeClaims."
            self._unschedulable(pod, told)
            return
        bound = [p for p in store.list(PODS) if p["spec"].get("nodeName")]
        cluster = Cluster(nodes=store.list(NODES), pods=bound, volumes=self._volumes(pod))
        choice = place(pod, cluster)
        if isinstance(choice, Placed):
            self._bind(pod, choice.node)
        else:
            self._unschedulable(pod, choice.message)

    def _claim(self, pod: Object, name: str) -> Object | None:
        return self._api.store.get(Key(CLAIMS, pod["metadata"]["namespace"], name))

    def _never_bound(self, pod: Object, name: str) -> bool:
        """Whether a claim waits for a volume that nobody will make: its class is none, or not of this machine."""
        claim = self._claim(pod, name)
        if claim is None or claim["spec"].get("volumeName"):
            return False
        found = self._api.store.get(Key(CLASSES, "", claim["spec"].get("storageClassName") or ""))
        return found is None or found["provisioner"] != PROVISIONER

    def _volumes(self, pod: Object) -> list[Object]:
        claims = [c for n in _claims(pod) if (c := self._claim(pod, n)) is not None]
        names = [c["spec"]["volumeName"] for c in claims if c["spec"].get("volumeName")]
        return [v for n in names if (v := self._api.store.get(Key(VOLUMES, "", n))) is not None]

    def _bind(self, pod: Object, node: str) -> None:
        metadata, resource = pod["metadata"], self._api.kind("v1", "Pod")
        new = {**pod, "spec": {**pod["spec"], "nodeName": node}}
        bound = self._api.writes.update(resource, metadata["namespace"], metadata["name"], new, CONTROL)
        self._condition(bound, {"type": "PodScheduled", "status": "True"})

    def _unschedulable(self, pod: Object, message: str) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        self._condition(pod, condition)

    def _condition(self, pod: Object, condition: dict[str, Any]) -> None:
        status = pod.get("status") or {}
        others = [c for c in status.get("conditions", ()) if c["type"] != condition["type"]]
        old = next((c for c in status.get("conditions", ()) if c["type"] == condition["type"]), None)
        if old is not None and {k: v for k, v in old.items() if k != "lastTransitionTime"} == condition:
            return
        new = {**status, "conditions": [*others, {**condition, "lastTransitionTime": stamp()}]}
        self._api.patch_status(self._api.kind("v1", "Pod"), dict(pod), new)


def _claims(pod: Object) -> list[str]:
    found = (v.get("persistentVolumeClaim") for v in pod["spec"].get("volumes", ()))
    return [c["claimName"] for c in found if c]
