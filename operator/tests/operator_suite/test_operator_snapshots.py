"""Snapshots: pinned behind all that was acknowledged before, once and for good; and deletions that wait for them."""

from dataclasses import replace
from typing import Any

import pytest
from borealis_engine.contract.status import InstanceStatus, Role, StorageState, StorageStatus
from borealis_engine.contract.volume import format_lsn
from borealis_operator.api.errors import Conflict
from borealis_operator.handlers.registry import Wiring, remove_once
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.observe.testing import FakeWorld
from borealis_operator.plan.facts import Agent, Manifest
from borealis_operator.plan.removal import removal_condition
from borealis_operator.plan.snapshots import Pin, Wait, decide_pin
from borealis_operator.reconcile.kicks import Kicks
from borealis_operator.reconcile.removal import Remover
from borealis_operator.reconcile.snapshots import tend_orphan
from borealis_operator.render.objects import rfc3339

from .conftest import KEY, Stage
from .test_operator_faults import told

START = 0x1000000


def declare(stage: Stage, name: str = "before", cluster: str = KEY.name) -> Object:
    metadata = {"name": name, "namespace": KEY.namespace}
    return stage.kube.put({"kind": "Snapshot", "metadata": metadata, "spec": {"clusterName": cluster}})


def said(stage: Stage, name: str = "before") -> dict[str, Any]:
    return dict(stage.kube.objects["Snapshot", KEY.namespace, name].get("status") or {})


def ready(stage: Stage, name: str = "before") -> dict[str, Any]:
    return next(c for c in said(stage, name)["conditions"] if c["type"] == "Ready")


def commit(stage: Stage, lsn: int) -> None:
    """Have the writer acknowledge commits up to `lsn`, and storage nodes say where their log begins."""
    for uid, status in stage.world.statuses.items():
        if isinstance(status, InstanceStatus) and status.role is Role.WRITER:
            stage.world.statuses[uid] = replace(status, durable_lsn=lsn)
        elif isinstance(status, StorageStatus):
            stage.world.statuses[uid] = replace(status, durable_lsn=lsn, log_start=START)


async def test_a_snapshot_pins_what_is_durable_and_says_what_it_keeps(running: Stage) -> None:
    commit(running, 0x5000000)
    declare(running)
    await running.reconciler.once(KEY)
    status = said(running)
    assert (status["status"], status["lsn"], status["logStart"]) == ("available", "0/5000000", "0/1000000")
    assert status["logBytes"] == 0x4000000
    assert (status["epoch"], status["engineVersion"]) == (running.status["epoch"], "17")
    assert status["time"] == rfc3339(running.now)
    assert status["restorable"] is False
    assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
        "Ready": ("True", "Available"),
        "Restorable": ("False", "NotAvailable"),
    }


async def test_what_was_heard_before_the_snapshot_appeared_is_not_believed(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream lags: the latest word of each pod is from before the last commits."""
    heard = dict(running.world.statuses)
    commit(running, 0x7000000)
    declare(running)
    monkeypatch.setattr(FakeWorld, "latest", lambda self, uid: Agent(status=heard[uid]))
    await running.reconciler.once(KEY)
    assert said(running)["lsn"] == format_lsn(0x7000000)


async def test_what_is_pinned_never_changes_and_a_second_pass_writes_nothing(running: Stage) -> None:
    commit(running, 0x5000000)
    declare(running)
    await running.settle()
    status = said(running)
    commit(running, 0x9000000)
    running.world.die(running.writer_pod()["metadata"]["uid"])
    await running.settle()
    assert said(running) == status
    before = list(running.kube.writes)
    await running.reconciler.once(KEY)
    assert running.kube.writes == before


async def test_without_a_writer_it_waits_and_is_taken_by_itself(running: Stage) -> None:
    commit(running, 0x5000000)
    running.world.deaf = {running.pod(n)["metadata"]["uid"] for n in running.named("Pod") if "instance" in n}
    running.world.die(running.writer_pod()["metadata"]["uid"])
    declare(running)
    delay = await running.reconciler.once(KEY)
    assert delay <= 1.0
    assert (said(running)["status"], ready(running)["reason"]) == ("creating", "NoWriter")
    writes = len(running.kube.writes)
    await running.reconciler.once(KEY)
    assert [w for w in running.kube.writes[writes:] if w[1] == "Snapshot"] == []
    running.world.deaf = set()
    await running.settle()
    assert said(running)["status"] == "available"
    assert said(running)["epoch"] == running.status["epoch"] == 3


async def test_a_snapshot_that_somebody_else_has_just_taken_is_left_alone(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator that was frozen between reading and writing finds a newer version, and writes nothing."""
    patch = FakeKube.patch

    async def check(self: FakeKube, kind: str, ns: str, name: str, body: Manifest, *, status: bool = False) -> Object:
        if kind == "Snapshot" and body["metadata"]["resourceVersion"] != "9999":
            raise Conflict("somebody else wrote first")
        return await patch(self, kind, ns, name, body, status=status)

    monkeypatch.setattr(FakeKube, "patch", check)
    declare(running)
    await running.reconciler.once(KEY)
    assert said(running) == {}
    assert told(running)["Reconciled"]["status"] == "True"


async def test_the_snapshot_of_a_missing_cluster_is_taken_once_there_is_one(stage: Stage) -> None:
    live = declare(stage)
    await tend_orphan(stage.kube, live, now=stage.now)
    assert (said(stage)["status"], ready(stage)["reason"]) == ("creating", "ClusterMissing")
    assert "'orders'" in ready(stage)["message"]
    stage.declare({"readers": 0})
    await stage.settle()
    assert said(stage)["status"] == "available"


async def test_the_snapshots_of_other_clusters_are_not_touched(running: Stage) -> None:
    declare(running, "theirs", "others")
    await running.settle()
    assert said(running, "theirs") == {}


def writer(**changes: Any) -> InstanceStatus:
    usual = {"name": "w", "role": Role.WRITER, "ready": True, "epoch": 3, "durable_lsn": 9}
    return InstanceStatus(**(usual | changes))


def member(promised: int, log_start: int = 1) -> StorageStatus:
    state = StorageState.CURRENT
    return StorageStatus(name="s", member="m", state=state, promised=promised, log_start=log_start, durable_lsn=99)


PINS: dict[str, tuple[InstanceStatus | None, list[int], str]] = {
    "confirmed": (writer(), [3, 3, 3, 3, 3, 3], ""),
    "confirmed by three": (writer(), [3, 3, 3], ""),
    "three have promised to another": (writer(), [4, 4, 4, 3, 3, 3], ""),
    "four have promised to another, who may own that epoch": (writer(), [4, 4, 4, 4, 3, 3], "Unconfirmed"),
    "too few answer": (writer(), [3, 3], "Unconfirmed"),
    "no writer": (None, [3, 3, 3, 3], "NoWriter"),
    "not the writer any more": (writer(role=Role.READER), [3, 3, 3, 3], "NoWriter"),
    "not ready": (writer(ready=False), [3, 3, 3, 3], "NoWriter"),
}


@pytest.mark.parametrize(("one", "promised", "reason"), PINS.values(), ids=PINS)
def test_pins(one: InstanceStatus | None, promised: list[int], reason: str) -> None:
    found = decide_pin(one, [member(epoch) for epoch in promised])
    assert (found.reason if isinstance(found, Wait) else "") == reason
    if isinstance(found, Pin):
        assert found == Pin(lsn=9, epoch=3, log_start=1)


def delete(stage: Stage) -> None:
    live = stage.kube.objects["DBCluster", KEY.namespace, KEY.name]
    live["metadata"]["deletionTimestamp"] = rfc3339(stage.now)


def remover(stage: Stage) -> Remover:
    return Remover(kube=stage.kube, agents=stage.world, wall=lambda: stage.now)


async def test_a_deletion_waits_for_snapshots_and_serves_on_meanwhile(running: Stage) -> None:
    declare(running, "one")
    declare(running, "two")
    await running.settle()
    delete(running)
    assert await remover(running).held(KEY)
    await running.settle()
    waits = told(running)["SnapshotsExist"]
    assert running.status["status"] == "deleting"
    assert waits["status"] == "True"
    assert "kubectl -n shop delete snapshot one two" in waits["message"]
    assert running.events().count("DeletionWaits") == 1
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    assert told(running)["Ready"]["status"] == "True"
    assert running.status["status"] == "deleting"
    assert running.addresses("orders") == [running.writer_pod()["status"]["podIP"]]
    running.kube.remove("Snapshot", KEY.namespace, "one")
    assert await remover(running).held(KEY)
    running.kube.remove("Snapshot", KEY.namespace, "two")
    assert not await remover(running).held(KEY)
    await run_removal(running)


async def test_a_failover_while_a_deletion_waits_is_as_fast_as_any(running: Stage) -> None:
    declare(running)
    await running.settle()
    delete(running)
    await running.settle()
    running.world.deaf = {running.pod(n)["metadata"]["uid"] for n in running.named("Pod") if "instance" in n}
    running.world.die(running.writer_pod()["metadata"]["uid"])
    assert await running.reconciler.once(KEY) <= 0.5
    running.world.deaf = set()
    reasons = set()
    for _ in range(10):
        await running.reconciler.once(KEY)
        reasons.add(told(running)["Ready"]["reason"])
        running.world.run()
        running.now += 2.0
    assert "Available" in reasons
    assert "SettingUp" not in reasons


async def test_commits_alone_write_no_status_while_a_deletion_waits(running: Stage) -> None:
    """The handler of the deletion takes no events of its DBCluster: they would pile up for as long as it waits."""
    declare(running)
    await running.settle()
    running.now += 120.0
    commit(running, 0x8000000)
    await running.settle()
    assert running.status["durableLsn"] == format_lsn(0x8000000)
    delete(running)
    await running.settle()
    writes = len(running.kube.writes)
    running.now += 120.0
    commit(running, 0x9000000)
    await running.settle()
    assert running.kube.writes[writes:] == []


async def test_a_snapshot_that_is_not_taken_yet_holds_too(running: Stage) -> None:
    for name in [n for n in running.named("Pod") if "instance" in n]:
        running.world.deaf.add(running.pod(name)["metadata"]["uid"])
    declare(running)
    await running.reconciler.once(KEY)
    assert said(running)["status"] == "creating"
    delete(running)
    assert await remover(running).held(KEY)


async def test_a_snapshot_that_is_on_its_way_out_holds_nothing(running: Stage) -> None:
    declare(running)
    await running.settle()
    live = running.kube.objects["Snapshot", KEY.namespace, "before"]
    live["metadata"] |= {"deletionTimestamp": rfc3339(running.now), "finalizers": ["example.com/theirs"]}
    delete(running)
    assert not await remover(running).held(KEY)


async def test_the_handler_serves_a_held_cluster_and_then_removes_it(running: Stage) -> None:
    wiring = Wiring(kube=running.kube, kicks=Kicks(), reconciler=running.reconciler, remover=remover(running))
    declare(running)
    await running.settle()
    delete(running)
    for _ in range(3):
        running.kube.remove("Pod", KEY.namespace, next(n for n in running.named("Pod") if "storage" in n))
        assert await remove_once(wiring, KEY) is not None
        running.world.run()
    assert len(running.named("Pod")) == 9
    running.kube.remove("Snapshot", KEY.namespace, "before")
    delays = [await remove_once(wiring, KEY) for _ in range(4)]
    assert delays[0] is not None
    assert delays[-1] is None
    assert running.named("Pod") + running.named("PersistentVolumeClaim") + running.named("DBInstance") == []


async def run_removal(stage: Stage) -> None:
    for _ in range(5):
        if await remover(stage).once(KEY):
            break
    assert stage.named("Pod") + stage.named("PersistentVolumeClaim") + stage.named("DBInstance") == []


async def test_a_snapshot_taken_after_the_first_deletion_comes_too_late(running: Stage) -> None:
    delete(running)
    assert not await remover(running).held(KEY)
    await remover(running).once(KEY)
    left = running.named("Pod")
    live = declare(running)
    assert not await remover(running).held(KEY)
    await running.reconciler.once(KEY)
    assert running.named("Pod") == left
    await tend_orphan(running.kube, live, now=running.now)
    assert (said(running)["status"], ready(running)["reason"]) == ("failed", "ClusterDeleted")
    await run_removal(running)


async def test_a_removal_that_began_after_a_wait_is_not_held_again(running: Stage) -> None:
    declare(running)
    await running.settle()
    delete(running)
    await running.settle()
    running.kube.remove("Snapshot", KEY.namespace, "before")
    await remover(running).once(KEY)
    assert "SnapshotsExist" not in told(running)
    declare(running, "late")
    assert not await remover(running).held(KEY)
    left = running.named("Pod")
    await running.reconciler.once(KEY)
    assert running.named("Pod") == left


async def test_a_pass_that_comes_between_deletion_and_removal_makes_nothing(running: Stage) -> None:
    delete(running)
    running.kube.remove("Pod", KEY.namespace, "orders-storage-3")
    before = list(running.kube.writes)
    await running.reconciler.once(KEY)
    assert running.kube.writes == before


async def test_a_cluster_that_never_wrote_is_not_held(stage: Stage) -> None:
    stage.declare({"readers": 0})
    await stage.reconciler.once(KEY)
    declare(stage)
    delete(stage)
    assert not await remover(stage).held(KEY)
    stage.kube.remove("DBCluster", KEY.namespace, KEY.name)
    assert not await remover(stage).held(KEY)


def leaving(name: str, node: str, *, asked: float, grace: int = 30) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "deletionGracePeriodSeconds": grace}
    return {"metadata": metadata | {"deletionTimestamp": rfc3339(asked + grace)}, "spec": {"nodeName": node}}


LATE: dict[str, tuple[dict[str, Any], float, str]] = {
    "just asked": (leaving("p", "node-a", asked=1000.0), 1020.0, ""),
    "within its grace": (leaving("p", "node-a", asked=1000.0), 1035.0, ""),
    "long after": (leaving("p", "node-a", asked=1000.0), 1040.0, "WaitingForPod"),
    "just asked, on a dead node": (leaving("p", "dead", asked=1000.0), 1004.0, ""),
    "on a dead node": (leaving("p", "dead", asked=1000.0), 1005.0, "WaitingForNode"),
    "not placed": (leaving("p", "", asked=1000.0, grace=0), 1009.0, ""),
}


@pytest.mark.parametrize(("pod", "now", "reason"), LATE.values(), ids=LATE)
def test_what_a_removal_waits_for_is_told(pod: dict[str, Any], now: float, reason: str) -> None:
    found = removal_condition({("Pod", "p"): pod}, ready_nodes={"node-a"}, now=now)
    assert (found["reason"] if found else "") == reason
    assert found is None or "pod p" in found["message"]


async def test_a_removal_that_waits_for_a_dead_node_says_so_once(running: Stage) -> None:
    delete(running)
    name = "orders-storage-0"
    node = running.pod(name)["spec"]["nodeName"]
    running.kube.objects["Node", "", node]["status"]["conditions"][0]["status"] = "Unknown"
    running.pod(name)["metadata"] |= {"deletionTimestamp": rfc3339(running.now + 15), "deletionGracePeriodSeconds": 15}
    await remover(running).once(KEY)
    assert told(running)["Reconciled"]["status"] == "True"
    running.now += 6
    for _ in range(3):
        await remover(running).once(KEY)
    late = told(running)["Reconciled"]
    assert (late["status"], late["reason"]) == ("False", "WaitingForNode")
    assert name in late["message"]
    assert f"kubectl delete node {node}" in late["message"]
    assert running.events().count("WaitingForNode") == 1
    assert told(running)["WriterAvailable"]
