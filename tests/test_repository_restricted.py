"""Every pod that Borealis makes runs in a namespace that enforces the Pod Security Standard `restricted`, and beyond.

The rules are those of https://kubernetes.io/docs/concepts/security/pod-security-standards/, as far as pods of ours
could break them; beyond them the root file system is read-only, and only the operator gets a token of the API.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from borealis_operator.api.catalogue import Catalogue
from borealis_operator.api.cluster import ClusterKey
from borealis_operator.kube.testing import FakeKube
from borealis_operator.observe.testing import FakeWorld
from borealis_operator.reconcile.reconciler import Reconciler

from tests.repository import ROOT

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
KEY = ClusterKey(namespace="shop", name="orders")
Spec = dict[str, Any]


def violations(spec: Spec) -> Iterator[str]:
    """Give what in a pod's spec `restricted` forbids."""
    yield from (f"{field} is true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    for volume in spec.get("volumes", ()):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is of {kinds}"
    shared = spec.get("securityContext", {})
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        name, own = container["name"], container.get("securityContext", {})
        both = {**shared, **own}
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            yield f"{name} may run as root"
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name} has no seccomp profile"
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{name} may gain privileges"
        capabilities = own.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
            yield f"{name} has capabilities"
        if any(port.get("hostPort") for port in container.get("ports", ())):
            yield f"{name} takes a port of its host"


def looseness(spec: Spec) -> Iterator[str]:
    """Give what we forbid beyond that."""
    for container in spec["containers"]:
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']} can write to its root file system"


async def database_pods() -> list[Spec]:
    """Give the pods of a cluster with a reader, as the operator makes them."""
    kube = FakeKube()
    world = FakeWorld(kube=kube)
    world.add_nodes({"a": 2, "b": 2, "c": 2})
    kube.put({"kind": "DBCluster", "metadata": {"name": KEY.name, "namespace": KEY.namespace}, "spec": {"readers": 1}})
    catalogue = Catalogue(images={"17": "engine:17"})
    reconciler = Reconciler(kube=kube, agents=world, catalogue=catalogue, wall=time.time, clock=time.monotonic)
    for _ in range(30):
        await reconciler.once(KEY)
        world.run()
    return [pod for (kind, _, _), pod in kube.objects.items() if kind == "Pod"]


def operator_spec() -> Spec:
    """Give the operator's pod of the plain manifest, which is what the chart renders."""
    documents = yaml.safe_load_all((ROOT / "deploy" / "borealis.yaml").read_text())
    deployment = next(d for d in documents if d and d["kind"] == "Deployment")
    return dict(deployment["spec"]["template"]["spec"])


async def test_database_pods_are_restricted() -> None:
    pods = await database_pods()
    assert len(pods) == 6 + 2
    for pod in pods:
        assert [*violations(pod["spec"]), *looseness(pod["spec"])] == [], pod["metadata"]["name"]
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["metadata"]["annotations"]["prometheus.io/scrape"] == "true"


def test_the_operator_is_restricted() -> None:
    spec = operator_spec()
    assert [*violations(spec), *looseness(spec)] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hostNetwork": True}, "hostNetwork is true"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volume v is of {'hostPath'}"),
        ({"securityContext": {"runAsNonRoot": True}}, "operator has no seccomp profile"),
        ({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, "operator may run as root"),
        ({"containers": [{"name": "c"}]}, "c may gain privileges"),
    ],
    ids=str,
)
def test_what_is_not_restricted_is_seen(change: Spec, told: str) -> None:
    assert told in list(violations({**operator_spec(), **change}))
