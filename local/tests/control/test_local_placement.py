"""Where pods go, and why not."""

from typing import Any

import pytest
from borealis_local.control.bootstrap import NODES, ZONES, zone_of
from borealis_local.control.placement import Cluster, Placed, Unplaced, place

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


def node(name: str, *, cordoned: bool = False, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {ZONE: zone_of(name), HOST: name}},
        "spec": {"unschedulable": cordoned},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(name: str = "p", on: str = "", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    placed = {"nodeName": on} if on else {}
    return {"metadata": {"name": name, "namespace": "n", "labels": labels or {}}, "spec": {**placed, **spec}}


def cluster(*pods: dict[str, Any], nodes: list[dict[str, Any]] | None = None, **more: Any) -> Cluster:
    return Cluster(nodes=nodes or [node(n) for n in NODES], pods=pods, **more)


def required(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def apart(key: str, kind: str = "preferredDuringSchedulingIgnoredDuringExecution") -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"a": "b"}}}
    wrapped = {"weight": 100, "podAffinityTerm": term} if kind.startswith("preferred") else term
    return {"podAntiAffinity": {kind: [wrapped]}}


def test_six_nodes_in_three_zones() -> None:
    assert [zone_of(n) for n in NODES] == [*ZONES, *ZONES]


def test_pods_spread_over_nodes() -> None:
    placed: list[dict[str, Any]] = []
    for number in range(6):
        choice = place(pod(f"p{number}"), cluster(*placed))
        assert isinstance(choice, Placed)
        placed.append(pod(f"p{number}", on=choice.node))
    assert {p["spec"]["nodeName"] for p in placed} == set(NODES)


@pytest.mark.parametrize(
    ("expression", "nodes"),
    [
        ({"key": ZONE, "operator": "In", "values": ["zone-b"]}, {"node-2", "node-5"}),
        ({"key": ZONE, "operator": "NotIn", "values": ["zone-a", "zone-b"]}, {"node-3", "node-6"}),
        ({"key": HOST, "operator": "In", "values": ["node-4"]}, {"node-4"}),
        ({"key": ZONE, "operator": "Exists"}, set(NODES)),
        ({"key": "none", "operator": "Exists"}, set()),
        ({"key": ZONE, "operator": "DoesNotExist"}, set()),
    ],
    ids=lambda value: value["operator"] if isinstance(value, dict) else "-".join(sorted(value)) or "none",
)
def test_node_affinity(expression: dict[str, Any], nodes: set[str]) -> None:
    found = set()
    for name in NODES:
        choice = place(pod(affinity=required(expression)), cluster(nodes=[node(name)]))
        if isinstance(choice, Placed):
            found.add(choice.node)
    assert found == nodes


def test_why_not_is_told_as_kubernetes_tells_it() -> None:
    nodes = [node("node-1", cordoned=True), node("node-2"), node("node-4", ready="Unknown")]
    choice = place(pod(nodeSelector={ZONE: "zone-a"}), cluster(nodes=nodes))
    assert isinstance(choice, Unplaced)
    assert choice.message.startswith("0/3 nodes are available: ")
    assert "1 node(s) were unschedulable" in choice.message
    assert "1 node(s) didn't match Pod's node affinity/selector" in choice.message


def test_preferred_anti_affinity_avoids_the_domain_but_does_not_insist() -> None:
    zone_a = [pod("x", on="node-1", labels={"a": "b"}), pod("y", on="node-4", labels={"a": "b"})]
    first = place(pod(labels={"a": "b"}, affinity=apart(ZONE)), cluster(*zone_a))
    assert isinstance(first, Placed)
    assert zone_of(first.node) != "zone-a"
    only_a = place(pod(affinity=apart(ZONE)), cluster(*zone_a, nodes=[node("node-1"), node("node-4")]))
    assert isinstance(only_a, Placed)


def test_required_anti_affinity_insists() -> None:
    there = pod("x", on="node-1", labels={"a": "b"})
    wanted = pod(affinity=apart(ZONE, "requiredDuringSchedulingIgnoredDuringExecution"))
    assert isinstance(place(wanted, cluster(there, nodes=[node("node-4")])), Placed)  # node-1's zone is unknown here
    choice = place(wanted, cluster(there, nodes=[node("node-1"), node("node-4")]))
    assert isinstance(choice, Unplaced)


def test_other_namespaces_do_not_count() -> None:
    other = pod("x", on="node-1", labels={"a": "b"})
    other["metadata"]["namespace"] = "elsewhere"
    wanted = pod(affinity=apart(HOST, "requiredDuringSchedulingIgnoredDuringExecution"))
    assert place(wanted, cluster(other, nodes=[node("node-1")])) == Placed("node-1")


def test_a_bound_volume_holds_its_pod() -> None:
    terms = [{"matchExpressions": [{"key": HOST, "operator": "In", "values": ["node-5"]}]}]
    volume = {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}
    assert place(pod(), cluster(volumes=[volume])) == Placed("node-5")
    cordoned = [node(n, cordoned=n == "node-5") for n in NODES]
    assert isinstance(place(pod(), cluster(nodes=cordoned, volumes=[volume])), Unplaced)


def test_spread_constraints() -> None:
    rule = {"topologyKey": ZONE, "maxSkew": 1, "labelSelector": {"matchLabels": {"a": "b"}}}
    there = [pod("x", on="node-1", labels={"a": "b"}), pod("y", on="node-2", labels={"a": "b"})]
    choice = place(pod(topologySpreadConstraints=[rule]), cluster(*there))
    assert isinstance(choice, Placed)
    assert zone_of(choice.node) == "zone-c"


def sized(name: str, cpu: str, memory: str) -> dict[str, Any]:
    return {**node(name), "status": {"allocatable": {"cpu": cpu, "memory": memory}}}


def asking(on: str = "", **requests: str) -> dict[str, Any]:
    return pod(on=on, containers=[{"name": "c", "resources": {"requests": requests}}])


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (asking(cpu="500m", memory="1Gi"), None),
        (asking(cpu="501m"), "0/2 nodes are available: 2 Insufficient cpu."),
        (asking(memory="1.5Gi"), "0/2 nodes are available: 2 Insufficient memory."),
        (asking(cpu="2", memory="3Gi"), "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory."),
        (asking(gpu="1"), "0/2 nodes are available: 2 Insufficient gpu."),
        (pod(containers=[{"name": "c", "resources": {"limits": {"cpu": "4"}}}]), "Insufficient cpu"),
        (pod(containers=[], initContainers=[{"name": "i", "resources": {"requests": {"cpu": "4"}}}]), "Insufficient"),
    ],
    ids=["fits", "cpu", "memory", "both", "other", "limit", "init"],
)
def test_requests_count(wanted: dict[str, Any], told: str | None) -> None:
    nodes = [sized("node-1", "1", "2Gi"), sized("node-2", "1500m", "2Gi")]
    there = cluster(
        asking(on="node-1", cpu="0.5", memory="1Gi"), asking(on="node-2", cpu="1", memory="1Gi"), nodes=nodes
    )
    choice = place(wanted, there)
    if told is None:
        assert isinstance(choice, Placed)
    else:
        assert isinstance(choice, Unplaced)
        assert told in choice.message


def test_a_pod_that_has_ended_reserves_nothing() -> None:
    ended = {**asking(on="node-1", cpu="1"), "status": {"phase": "Succeeded"}}
    assert place(asking(cpu="1"), cluster(ended, nodes=[sized("node-1", "1", "1Gi")])) == Placed("node-1")
