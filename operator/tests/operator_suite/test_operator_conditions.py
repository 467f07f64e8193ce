"""Conditions on what keeps pods from running, on zones, and the events of their turns."""

from typing import Any

import pytest
from borealis_operator.api.catalogue import Catalogue
from borealis_operator.api.cluster import parse_cluster
from borealis_operator.plan.conditions import zones_condition
from borealis_operator.plan.facts import Facts
from borealis_operator.plan.running import CRASHES, pods_condition
from borealis_operator.plan.turns import announce_turns
from borealis_operator.render.objects import rfc3339

from .conftest import Stage
from .test_operator_faults import told
from .test_operator_plans import node

NOW = 1_800_000_000.0
BORN = {"name": "orders-storage-0", "namespace": "shop", "creationTimestamp": rfc3339(NOW - 60)}
MOUNTED = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "orders-storage-0"}}]}
TAINTED = "0/3 nodes are available: 3 node(s) had untolerated taint {a: b}."
UNBOUND = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."


def facts_of(*objects: dict[str, Any], before: dict[str, Any] | None = None, now: float = NOW) -> Facts:
    metadata = {"name": "orders", "namespace": "shop", "uid": "u"}
    status = {"conditions": [before] if before else [], "epoch": 2, "engineVersion": "17"}
    raw = {"metadata": metadata, "spec": {}, "status": status}
    cluster = parse_cluster(raw, Catalogue(images={"17": "engine:17"}))
    found = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    return Facts(cluster=cluster, now=now, entropy="", objects=found)


def unplaced(message: str) -> dict[str, Any]:
    held = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    status = {"phase": "Pending", "conditions": [held]}
    return {"kind": "Pod", "metadata": BORN, "spec": MOUNTED, "status": status}


def placed(state: dict[str, Any], **told: Any) -> dict[str, Any]:
    spec = {"nodeName": "node-1", "containers": [{"name": "storage", "image": "borealis-engine:17"}]}
    container = {"name": "storage", "image": "sha256:abc", "state": state, "restartCount": 0, "ready": False} | told
    return {"kind": "Pod", "metadata": BORN, "spec": spec, "status": {"containerStatuses": [container]}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def claim(name: str | None, phase: str = "Pending", **annotations: str) -> dict[str, Any]:
    metadata = {"name": "orders-storage-0", "namespace": "shop", "annotations": annotations}
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": {"storageClassName": name} if name else {},
        "status": {"phase": phase},
    }


CRASHED = {"restartCount": 7, "lastState": {"terminated": {"exitCode": 137}}}
LONG = waiting("CrashLoopBackOff", "back-off 2m40s restarting failed container=storage")
SHORT = waiting("CrashLoopBackOff", "back-off 10s restarting failed container=storage")
HELD_UP: dict[str, tuple[list[dict[str, Any]], str, list[str]]] = {
    "no room": ([unplaced(TAINTED), claim("fast", "Bound")], "Unschedulable", [TAINTED, "add a Kubernetes node"]),
    "no room, and a claim that waits for the pod's place": (
        [unplaced(TAINTED), claim("fast")],
        "Unschedulable",
        ["orders-storage-0:", TAINTED],
    ),
    "no default class": ([unplaced(UNBOUND), claim(None)], "ClaimPending", ["no default StorageClass", "is-default"]),
    "a class that gives nothing": (
        [unplaced(UNBOUND), claim("fast")],
        "ClaimPending",
        ["'fast'", UNBOUND, "kubectl -n shop describe pvc orders-storage-0"],
    ),
    "a provisioner that does not answer": (
        [unplaced(""), claim("fast", **{"volume.kubernetes.io/selected-node": "node-1"})],
        "ClaimPending",
        ["provisioner"],
    ),
    "no image": (
        [placed(waiting("ErrImagePull", "manifest unknown"))],
        "ImagePullFailed",
        ["'borealis-engine:17'", "manifest unknown", "engine.images"],
    ),
    "no image, again": ([placed(waiting("ImagePullBackOff", "Back-off"))], "ImagePullFailed", ["Back-off"]),
    "crashes": (
        [placed(LONG, **CRASHED)],
        "CrashLooping",
        ["7 times", "exit code 137", "kubectl -n shop logs orders-storage-0 --previous"],
    ),
    "no Secret": (
        [placed(waiting("CreateContainerConfigError", 'secret "x" not found'))],
        "NotStarting",
        ['secret "x" not found', "kubectl -n shop describe pod orders-storage-0"],
    ),
}
RUNS: dict[str, list[dict[str, Any]]] = {
    "runs": [placed({"running": {}}, ready=True), claim("fast", "Bound")],
    "left a role a moment ago": [placed(SHORT, **CRASHED)],
    "crashed once": [placed(LONG, restartCount=CRASHES - 1)],
    "is being made": [placed(waiting("ContainerCreating"))],
    "is not looked at by the scheduler yet": [
        {"kind": "Pod", "metadata": BORN, "spec": MOUNTED, "status": {}},
        claim("fast"),
    ],
    "is on its way out": [{**unplaced(TAINTED), "metadata": BORN | {"deletionTimestamp": rfc3339(NOW)}}],
}


@pytest.mark.parametrize(("objects", "reason", "words"), HELD_UP.values(), ids=HELD_UP)
def test_what_holds_pods_up_is_told_with_the_remedy(
    objects: list[dict[str, Any]], reason: str, words: list[str]
) -> None:
    found = pods_condition(facts_of(*objects))
    assert (found["status"], found["reason"]) == ("False", reason)
    assert [w for w in words if w not in found["message"]] == []


@pytest.mark.parametrize("objects", RUNS.values(), ids=RUNS)
def test_what_runs_or_soon_will_is_no_news(objects: list[dict[str, Any]]) -> None:
    found = pods_condition(facts_of(*objects))
    assert (found["status"], found["reason"]) == ("True", "AllRunning")


@pytest.mark.parametrize(("objects", "reason", "words"), HELD_UP.values(), ids=HELD_UP)
def test_a_young_pod_is_no_news_and_takes_none_back(objects: list[dict[str, Any]], reason: str, words: Any) -> None:
    early = NOW - 55.0
    assert pods_condition(facts_of(*objects, now=early))["reason"] == "AllRunning"
    before = {"type": "PodsRunning", "status": "False", "reason": "Unschedulable", "message": "as before"}
    kept = pods_condition(facts_of(*objects, now=early, before=before))
    assert {k: kept[k] for k in before} == before


def test_a_container_that_crashes_between_its_runs_is_still_told() -> None:
    before = {"type": "PodsRunning", "status": "False", "reason": "CrashLooping", "message": "as before"}
    between = placed({"running": {}}, **CRASHED)
    assert pods_condition(facts_of(between, before=before))["reason"] == "CrashLooping"
    assert pods_condition(facts_of(between))["reason"] == "AllRunning"
    well = placed({"running": {}}, **(CRASHED | {"ready": True}))
    assert pods_condition(facts_of(well, before=before))["reason"] == "AllRunning"


def test_a_container_that_is_being_made_for_long_is_told() -> None:
    slow = placed(waiting("ContainerCreating"))
    assert pods_condition(facts_of(slow, now=NOW + 100))["reason"] == "NotStarting"


def test_of_several_the_worst_is_told_and_the_others_named() -> None:
    others = [{**unplaced(TAINTED), "metadata": BORN | {"name": f"p{n}"}} for n in (1, 2)]
    found = pods_condition(facts_of(*others, placed(waiting("ErrImagePull", "x"))))
    assert found["reason"] == "ImagePullFailed"
    assert "p1, p2" in found["message"]


TURNS = {
    "held up": ("True", "AllRunning", "False", "Unschedulable", [("Unschedulable", True)]),
    "still": ("False", "Unschedulable", "False", "Unschedulable", []),
    "otherwise": ("False", "Unschedulable", "False", "ImagePullFailed", [("ImagePullFailed", True)]),
    "well again": ("False", "ImagePullFailed", "True", "AllRunning", [("PodsRunning", False)]),
    "well": ("True", "AllRunning", "True", "AllRunning", []),
}


@pytest.mark.parametrize(("was", "why", "now", "reason", "events"), TURNS.values(), ids=TURNS)
def test_turns_are_announced_once(was: str, why: str, now: str, reason: str, events: list[tuple[str, bool]]) -> None:
    before = {"type": "PodsRunning", "status": was, "reason": why}
    after = {"type": "PodsRunning", "status": now, "reason": reason, "message": "so"}
    assert [(e.reason, e.warning) for e in announce_turns([before], [after])] == events


def test_a_good_beginning_is_not_announced_and_a_bad_one_is() -> None:
    good = {"type": "StorageSpace", "status": "True", "reason": "Enough", "message": ""}
    bad = {"type": "StorageSpace", "status": "False", "reason": "NearlyFull", "message": ""}
    other = {"type": "Ready", "status": "False", "reason": "NoWriter", "message": ""}
    assert announce_turns([], [good, other]) == []
    assert [e.reason for e in announce_turns([], [bad])] == ["StorageNearlyFull"]


async def test_a_pod_that_is_held_up_is_told_in_the_status_and_in_one_event(running: Stage) -> None:
    held = placed(waiting("ImagePullBackOff", "no such tag"))["status"]["containerStatuses"]
    name = next(n for n in running.named("Pod") if "instance" in n and n != running.status["writer"])
    running.pod(name)["status"]["containerStatuses"] = held
    await running.settle()
    assert told(running)["PodsRunning"]["reason"] == "ImagePullFailed"
    assert name in told(running)["PodsRunning"]["message"]
    assert told(running)["Ready"]["status"] == "True"
    del running.pod(name)["status"]["containerStatuses"]
    await running.settle()
    assert told(running)["PodsRunning"]["status"] == "True"
    assert [e for e in running.events() if e in ("ImagePullFailed", "PodsRunning")] == [
        "ImagePullFailed",
        "PodsRunning",
    ]


async def test_two_zones_are_told_and_do(stage: Stage) -> None:
    for number in (0, 1):
        stage.kube.remove("Node", "", f"node-c{number}")
    stage.declare({"readers": 1})
    await stage.settle()
    found = told(stage)["ThreeZones"]
    assert (found["status"], found["reason"]) == ("False", "StandIns")
    assert "topology.kubernetes.io/zone (now: a, b)" in found["message"]
    assert "make a new cluster" in found["message"]
    assert stage.status["status"] == "available"
    assert stage.status["storage"] == "6/6"
    old = stage.writer_pod()["metadata"]
    stage.world.die(old["uid"])
    await stage.settle()
    assert stage.status["writer"] not in ("", old["name"])


@pytest.mark.parametrize(("zones", "status"), [("abc", "True"), ("ab", "False"), ("", "False")])
def test_zones_are_judged_by_the_nodes_before_the_volume_is_laid_out(zones: str, status: str) -> None:
    facts = facts_of()
    nodes = tuple(node(z) for z in zones)
    bare = Facts(cluster=facts.cluster, now=NOW, entropy="", objects={}, nodes=nodes)
    assert zones_condition(bare)["status"] == status
