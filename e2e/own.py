"""Databases of a scenario's own: what it does to them stays in them, and they are gone afterwards."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.database import Database
from e2e.kind import Kind
from e2e.process import await_that

SMALL = "small"  # a StorageClass, and a directory upon each Kubernetes node
MOUNT = 'mkdir -p "$1" && mount -t tmpfs -o size="$2"m,mode=0777 tmpfs "$1"'
ENLARGE = 'mount -o remount,size="$2"m "$1"'
UNMOUNT = 'umount "$1" 2>/dev/null || ! mountpoint -q "$1"; rm -rf "$1"'
MODES = ("ReadWriteOnce", "ReadWriteOncePod")  # a claim asks for one of them, and a volume may not offer both
PATH = f"/mnt/{SMALL}-volume"


@contextmanager
def database(cluster: Kind, like: Database, name: str, *, readers: int, **storage: str) -> Iterator[Database]:
    """Make a database beside another one, wait until it is whole, and delete it afterwards."""
    spec: dict[str, Any] = {"engine": "postgresql", "readers": readers, "databaseName": "app"}
    spec |= {"storage": {"size": "2Gi", **storage}}
    kind = {"apiVersion": "borealis.dev/v1alpha1", "kind": "DBCluster", "metadata": {"name": name}, "spec": spec}
    made = Database(api=like.api, namespace=like.namespace, name=name)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(kind))
    try:
        made.await_whole(readers, timeout=300)
        yield made
    finally:
        cluster.kubectl("delete", "dbcluster", name, "--timeout=120s", timeout=130)
        await_that(f"no pod of {name} is left", lambda: not made.pods(), timeout=60)


@contextmanager
def small_volumes(cluster: Kind, megabytes: int) -> Iterator[list[str]]:
    """Have a StorageClass whose volumes are file systems of this size, one upon each worker; give those nodes."""
    nodes = [node for node in cluster.nodes() if node != cluster.control_plane]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_class()))
    try:
        for node in nodes:
            cluster.on(node, MOUNT, PATH, str(megabytes))
            for mode in MODES:
                cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_volume(node, megabytes, mode)))
        yield nodes
    finally:
        names = [_name(node, mode) for node in nodes for mode in MODES]
        cluster.kubectl("delete", "pv", *names, "--ignore-not-found", "--timeout=60s", timeout=70)
        cluster.kubectl("delete", "storageclass", SMALL)
        for node in nodes:
            cluster.on(node, UNMOUNT, PATH)


def enlarge(cluster: Kind, nodes: list[str], megabytes: int) -> None:
    """Make the file systems of `small_volumes` larger while they are in use."""
    for node in nodes:
        cluster.on(node, ENLARGE, PATH, str(megabytes))


def _class() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": SMALL},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
    }  # fmt: skip


def _name(node: str, mode: str) -> str:
    return f"{SMALL}-{mode.lower()}-{node}"


def _volume(node: str, megabytes: int, mode: str) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    spec = {
        "capacity": {"storage": f"{megabytes}Mi"}, "storageClassName": SMALL, "local": {"path": PATH},
        "accessModes": [mode], "persistentVolumeReclaimPolicy": "Retain",
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": _name(node, mode)}, "spec": spec}
