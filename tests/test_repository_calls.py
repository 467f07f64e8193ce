"""The operator may do what it really does, and nothing else: its requests are compared with the chart both ways."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.rights import OWN, Play, operating
from tests.test_repository_rbac import OWNERS, granted

SPEC = {
    "readers": 2,
    "databaseName": "app",
    "masterUserSecret": {"name": "mine"},
    "storage": {"size": "1Gi"},
}
STRIPPED = (
    ("ConfigMap", "orders-volume", "v1"),
    ("PersistentVolumeClaim", "orders-storage-0", "v1"),
    ("EndpointSlice", "orders", "discovery.k8s.io/v1"),
)


@pytest.mark.slow
async def test_rights_are_those_of_the_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with operating(kubeconfig) as play:
        await come_up(play)
        await fail_over(play)
        await scale(play)
        await disturb(play)
        await snapshot(play)
        await admit_clients(play)
        await delete(play)
        renewal = ("coordination.k8s.io", "leases", "update")
        await play.until(lambda: renewal in play.ears.heard, "the Lease is not renewed")
        heard = set(play.ears.heard)
    rights = granted()
    allowed = rights["namespaced"] | rights["own"] | rights["cluster"]
    assert sorted(heard - allowed) == [], "the operator asks for what the chart does not allow"
    assert sorted(allowed - OWNERS - heard) == [], "the chart allows what the operator never asks for"


async def come_up(play: Play) -> None:
    play.api.make("Secret", "mine", type="Opaque", data={"password": "bG9uZy1lbm91Z2gtcGFzc3dvcmQ="})
    play.api.make("DBCluster", "orders", api=OWN, spec=SPEC)
    await play.until(lambda: play.status().get("status") == "available" and play.status()["readers"] == 2, "no cluster")


async def fail_over(play: Play) -> None:
    writer = play.status()["writer"]
    play.api.remove("Pod", writer)
    await play.until(lambda: play.status()["writer"] not in ("", writer), "no new writer")
    await play.until(lambda: play.status()["readers"] == 2, "no new reader")


async def scale(play: Play) -> None:
    """In and out by hand, by load, and by an instance of the user's own."""
    play.change("DBCluster", "orders", {"spec": {"readers": 1}})
    await play.until(lambda: play.status()["readers"] == 1, "no scaling in")
    play.change("DBCluster", "orders", {"spec": {"readerAutoscaling": {"minReaders": 1, "maxReaders": 3}}})
    hpa = "HorizontalPodAutoscaler"
    await play.until(lambda: play.api.find(hpa, "orders-readers", api="autoscaling/v2"), "no HPA")
    play.change("DBCluster", "orders", {"spec": {"readerAutoscaling": {"maxReaders": 4}}})
    bounds = lambda: (play.api.find(hpa, "orders-readers", api="autoscaling/v2") or {})["spec"]["maxReplicas"]  # noqa: E731
    await play.until(lambda: bounds() == 4, "HPA not changed")
    play.change("DBCluster", "orders", {"spec": {"readerAutoscaling": None, "parameters": {"work_mem": "8MB"}}})
    await play.until(lambda: not play.api.find(hpa, "orders-readers", api="autoscaling/v2"), "HPA not removed")
    play.api.make("DBInstance", "extra", api=OWN, spec={"clusterName": "orders", "promotionTier": 0})
    ready = lambda: (play.api.find("DBInstance", "extra", api=OWN) or {}).get("status", {}).get("status")  # noqa: E731
    await play.until(lambda: ready() == "available", "the user's instance does not come up")
    play.api.make("DBInstance", "lost", api=OWN, spec={"clusterName": "nobody"})
    told = lambda: (play.api.find("DBInstance", "lost", api=OWN) or {}).get("status")  # noqa: E731
    await play.until(told, "nothing is said of an instance without a cluster")


async def disturb(play: Play) -> None:
    """What others change is set right: a Service, labels, a Secret, a password."""
    play.change("Service", "orders", {"spec": {"ports": [{"name": "other", "port": 1, "protocol": "TCP"}]}}, api="v1")
    ports = lambda: [p["port"] for p in (play.api.find("Service", "orders") or {})["spec"]["ports"]]  # noqa: E731
    await play.until(lambda: 5432 in ports(), "the Service is not set right")
    for kind, name, api in STRIPPED:
        play.change(kind, name, {"metadata": {"labels": None}}, api=api)
    labels = lambda kind, name, api: (play.api.find(kind, name, api=api) or {})["metadata"].get("labels")  # noqa: E731
    await play.until(lambda: all(labels(*each) for each in STRIPPED), "labels are not put back")
    before = (play.api.find("Secret", "orders-master") or {})["data"]
    play.change("Secret", "mine", {"data": {"password": "YW5vdGhlci1wYXNzd29yZC10aGVyZQ=="}}, api="v1")
    await play.until(
        lambda: (play.api.find("Secret", "orders-master") or {})["data"] != before, "the password is not taken over"
    )


async def snapshot(play: Play) -> None:
    play.api.make("Snapshot", "before", api=OWN, spec={"clusterName": "orders"})
    told = lambda: (play.api.find("Snapshot", "before", api=OWN) or {}).get("status", {}).get("status")  # noqa: E731
    await play.until(lambda: told() == "available", "no Snapshot")


async def admit_clients(play: Play) -> None:
    """Some, and then whoever finds the way: an operator that was told to keep no NetworkPolicies."""
    live = lambda: play.api.find("NetworkPolicy", "orders", api="networking.k8s.io/v1")  # noqa: E731
    await play.until(live, "no NetworkPolicy")
    play.change("DBCluster", "orders", {"spec": {"allowedClients": [{"podSelector": {}}]}})
    await play.until(lambda: "podSelector" in str((live() or {})["spec"]["ingress"][-1]), "NetworkPolicy not changed")
    play.reconciler.catalogue = replace(play.reconciler.catalogue, operator_peer=None)
    await play.until(lambda: not live(), "NetworkPolicy not removed")


async def delete(play: Play) -> None:
    play.api.remove("DBCluster", "orders", api=OWN)
    held = lambda: any(c["type"] == "SnapshotsExist" for c in play.status().get("conditions", ()))  # noqa: E731
    await play.until(held, "the deletion does not wait")
    play.api.remove("Snapshot", "before", api=OWN)
    await play.until(lambda: play.api.find("DBCluster", "orders", api=OWN) is None, "the cluster is not deleted")
