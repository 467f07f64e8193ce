"""What a fresh local Kubernetes holds: namespaces, six nodes in three zones, a storage class."""

import os
from collections.abc import Mapping
from typing import Any, Final

from borealis_local.control.provisioner import PROVISIONER
from borealis_local.machinery.defaults import DEFAULT_CLASS
from borealis_local.server.api import CONTROL, Api
from borealis_local.server.store import Key
from borealis_local.server.writes import stamp

ZONES: Final = ("zone-a", "zone-b", "zone-c")
NODES: Final = tuple(f"node-{n}" for n in range(1, 7))
REGION: Final = "local"
NAMESPACES: Final = ("default", "kube-system")


def zone_of(node: str) -> str:
    """Give the zone of a node: two nodes in each."""
    return ZONES[NODES.index(node) % len(ZONES)]


def nodes_in(zone: str) -> tuple[str, ...]:
    """Give the nodes of a zone."""
    return tuple(n for n in NODES if zone_of(n) == zone)


def bootstrap(api: Api) -> None:
    """Make what is missing; nodes are ready again whatever they were."""
    for name in NAMESPACES:
        _ensure(api, "v1", "Namespace", {"metadata": {"name": name}})
    for name in NODES:
        _ensure(api, "v1", "Node", _node(name))
        node_ready(api, name, ready=True)
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage_class = {
        "metadata": {"name": DEFAULT_CLASS, "annotations": annotations},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    _ensure(api, "storage.k8s.io/v1", "StorageClass", storage_class)


def _ensure(api: Api, api_version: str, kind: str, obj: dict[str, Any]) -> None:
    resource = api.kind(api_version, kind)
    if api.store.get(Key(resource.store, "", obj["metadata"]["name"])) is None:
        api.writes.create(resource, "", obj, CONTROL)


def _node(name: str) -> dict[str, Any]:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": zone_of(name),
        "topology.kubernetes.io/region": REGION,
    }
    return {"metadata": {"name": name, "labels": labels}, "spec": {"providerID": f"local:///{name}"}}


def node_ready(api: Api, name: str, *, ready: bool) -> None:
    """Show whether a node is ready."""
    resource = api.kind("v1", "Node")
    node = api.writes.read(resource, "", name)
    status: Mapping[str, Any] = node.get("status") or {}
    old = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), None)
    word = "True" if ready else "Unknown"
    if old is not None and old["status"] == word:
        return
    condition = {
        "type": "Ready",
        "status": word,
        "reason": "KubeletReady" if ready else "NodeStatusUnknown",
        "message": "" if ready else "Kubelet stopped posting node status.",
        "lastTransitionTime": stamp(),
        "lastHeartbeatTime": stamp(),
    }
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}]
    capacity = _capacity()
    info = {"kubeletVersion": "v1.33.0+borealis-local", "operatingSystem": "linux"}
    new = {"conditions": [condition], "addresses": addresses, "nodeInfo": info}
    api.patch_status(resource, node, {**new, "capacity": capacity, "allocatable": capacity})


def _capacity() -> dict[str, str]:
    """Give what each node says it has: several times the machine, because processes share it and reserve nothing."""
    processors = max(16, 4 * (os.cpu_count() or 1))
    gibibytes = max(64, 4 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30)
    return {"cpu": str(processors), "memory": f"{gibibytes}Gi", "pods": "110", "ephemeral-storage": "1Ti"}
