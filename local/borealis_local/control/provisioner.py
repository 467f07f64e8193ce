"""Persistent volumes: a directory for each claim, on the node of the first pod that uses it.

A claim in use is kept by its protection finalizer; a claim that is gone takes its volume and directory along.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from borealis_local.machinery.defaults import PVC_PROTECTION
from borealis_local.machinery.resources import Group
from borealis_local.server.api import CONTROL, Api
from borealis_local.server.removal import DeleteOptions
from borealis_local.server.store import Key

Object = Mapping[str, Any]
PODS = Group("", "pods")
CLAIMS, VOLUMES = Group("", "persistentvolumeclaims"), Group("", "persistentvolumes")
GROUPS = frozenset({PODS, CLAIMS, VOLUMES})
PROVISIONER = "local.borealis.dev/directory"


class Provisioner:
    """Makes, binds and removes volumes."""

    def __init__(self, api: Api, directory: Path) -> None:
        """Keep volumes beneath `directory`."""
        self._api, self._directory = api, directory

    async def sync(self) -> float | None:
        """Bring claims and volumes in step with the pods."""
        users = self._users()
        for claim in self._api.store.list(CLAIMS):
            key = (claim["metadata"]["namespace"], claim["metadata"]["name"])
            if "deletionTimestamp" in claim["metadata"]:
                if key not in users:
                    self._release(claim)
            elif claim["status"]["phase"] == "Pending" and users.get(key):
                self._provide(claim, users[key])
            elif claim["status"]["phase"] == "Bound":
                self._enlarge(claim)
        self._remove_unclaimed()
        return None

    def _users(self) -> dict[tuple[str, str], str]:
        """Give the claims that pods use, and on which node (empty while not scheduled)."""
        found: dict[tuple[str, str], str] = {}
        for pod in self._api.store.list(PODS):
            for volume in pod["spec"].get("volumes", ()):
                if claim := volume.get("persistentVolumeClaim"):
                    key = (pod["metadata"]["namespace"], claim["claimName"])
                    found[key] = pod["spec"].get("nodeName") or found.get(key, "")
        return found

    def _provide(self, claim: Object, node: str) -> None:
        metadata = claim["metadata"]
        name = f"pvc-{metadata['uid']}"
        path = self._directory / metadata["uid"].replace("-", "")[:8]
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
        resource = self._api.kind("v1", "PersistentVolume")
        if self._api.store.get(Key(VOLUMES, "", name)) is None:
            self._api.writes.create(resource, "", _volume(claim, name, node, path), CONTROL)
        claims = self._api.kind("v1", "PersistentVolumeClaim")
        bound = {**claim, "spec": {**claim["spec"], "volumeName": name}}
        new = self._api.writes.update(claims, metadata["namespace"], metadata["name"], bound, CONTROL)
        capacity = (claim["spec"].get("resources") or {}).get("requests") or {}
        modes = claim["spec"].get("accessModes", [])
        status = {**new["status"], "phase": "Bound", "capacity": capacity, "accessModes": modes}
        self._api.patch_status(claims, new, status)

    def _enlarge(self, claim: Object) -> None:
        """Have the capacity follow what is asked for: a directory has no size of its own."""
        asked = (claim["spec"].get("resources") or {}).get("requests") or {}
        if claim["status"].get("capacity") != asked:
            claims = self._api.kind("v1", "PersistentVolumeClaim")
            self._api.patch_status(claims, dict(claim), {**claim["status"], "capacity": asked})

    def _release(self, claim: Object) -> None:
        metadata = claim["metadata"]
        held = metadata.get("finalizers", [])
        if PVC_PROTECTION not in held:
            return
        rest = [f for f in held if f != PVC_PROTECTION]
        new = {**claim, "metadata": {**metadata, "finalizers": rest}}
        resource = self._api.kind("v1", "PersistentVolumeClaim")
        self._api.writes.update(resource, metadata["namespace"], metadata["name"], new, CONTROL)

    def _remove_unclaimed(self) -> None:
        claims = {c["metadata"]["uid"] for c in self._api.store.list(CLAIMS)}
        for volume in self._api.store.list(VOLUMES):
            reference = volume["spec"].get("claimRef") or {}
            ours = volume["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER
            if ours and reference.get("uid") not in claims:
                shutil.rmtree(volume["spec"]["hostPath"]["path"], ignore_errors=True)
                resource = self._api.kind("v1", "PersistentVolume")
                self._api.delete(resource, "", volume["metadata"]["name"], DeleteOptions())


def _volume(claim: Object, name: str, node: str, path: Path) -> dict[str, Any]:
    metadata = claim["metadata"]
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "accessModes": claim["spec"].get("accessModes", []),
            "capacity": (claim["spec"].get("resources") or {}).get("requests") or {},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "hostPath": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": claim["spec"].get("storageClassName", ""),
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Bound"},
    }
