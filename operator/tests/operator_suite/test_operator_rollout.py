"""A rolling restart: readers one at a time, then the writer, never while anything is amiss, and no further then."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from borealis_engine.contract.status import InstanceStatus, Role
from borealis_operator.api.classes import Resources
from borealis_operator.kube.testing import Crash, FakeKube
from borealis_operator.plan.failover import Promote, decide_promotion

from .conftest import KEY, Stage
from .test_operator_plans import R, pod, says

ROLLED = "autovacuum_max_workers"


def told(stage: Stage) -> dict[str, Any]:
    return {c["type"]: c for c in stage.status["conditions"]}


def ask(stage: Stage, **parameters: str) -> None:
    stage.world.restart_only.add(ROLLED)
    stage.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]["parameters"] = parameters


def instance_pods(stage: Stage) -> list[str]:
    return [n for n in stage.named("Pod") if "instance" in n]


def deleted(stage: Stage) -> list[str]:
    return [name for verb, kind, name in stage.kube.writes if (verb, kind) == ("delete", "Pod")]


def watch_readiness(stage: Stage) -> list[int]:
    """Note, at each deletion of a pod, how many instances are ready."""
    ready: list[int] = []

    def note(verb: str, kind: str, name: str) -> None:
        if (verb, kind) == ("delete", "Pod"):
            statuses = [s for s in stage.world.statuses.values() if isinstance(s, InstanceStatus)]
            ready.append(sum(1 for s in statuses if s.ready))

    stage.kube.on_write = note
    return ready


async def test_readers_first_one_at_a_time_then_the_writer(running: Stage) -> None:
    before, writer, ready = instance_pods(running), running.status["writer"], watch_readiness(running)
    ask(running, **{ROLLED: "5"})
    await running.settle()
    gone = deleted(running)
    assert sorted(gone) == before
    assert gone[-1] == writer
    assert ready == [3, 3, 3]
    assert running.status["status"] == "available"
    assert running.status["readers"] == 2
    assert running.status["writer"] not in ("", writer)
    assert told(running)["ParametersApplied"]["status"] == "True"
    assert told(running)["InstancesUpToDate"]["status"] == "True"


async def test_it_is_announced_from_its_beginning_to_its_end(running: Stage) -> None:
    ask(running, **{ROLLED: "5"})
    await running.settle()
    events = [e for e in running.events() if e not in ("WriterElected", "StorageWhole")]
    assert events == [
        "RolloutStarted",
        "InstanceRestarting",
        "InstanceRestarting",
        "SwitchoverStarted",
        "FailoverCompleted",
        "RolloutCompleted",
    ]


async def test_the_writers_role_goes_to_one_that_needs_no_restart() -> None:
    pods = [pod("i0-a", says(R, replay_lsn=9)), pod("i1-b", says(R, replay_lsn=5))]
    decision = decide_promotion(pods, {"i0": 0, "i1": 1}, asked=None, due={"i0-a"})
    assert isinstance(decision, Promote)
    assert decision.pod.name == "i1-b"
    alone = decide_promotion(pods[:1], {"i0": 0}, asked=None, due={"i0-a"})
    assert isinstance(alone, Promote)


async def test_a_writer_lost_in_a_rollout_is_followed_by_one_that_was_restarted_already(running: Stage) -> None:
    before = instance_pods(running)
    ask(running, **{ROLLED: "5"})
    while not deleted(running):
        await running.reconciler.once(KEY)
        running.world.run()
    await running.reconciler.once(KEY)
    running.world.run()
    (new,) = set(instance_pods(running)) - set(before)
    assert len(deleted(running)) == 1
    for uid, status in running.world.statuses.items():
        if isinstance(status, InstanceStatus) and status.name != new:
            running.world.statuses[uid] = replace(status, replay_lsn=status.replay_lsn + 1)
    running.kube.remove("Pod", KEY.namespace, running.status["writer"])
    running.world.run()
    await running.reconciler.once(KEY)
    assert running.world.asked[-1] == new


async def test_a_writer_without_readers_is_restarted_too(stage: Stage) -> None:
    stage.declare({"readers": 0})
    await stage.settle()
    writer = stage.status["writer"]
    ask(stage, **{ROLLED: "5"})
    await stage.settle()
    assert deleted(stage) == [writer]
    assert stage.status["status"] == "available"
    assert told(stage)["InstancesUpToDate"]["status"] == "True"
    assert stage.events()[-4:] == ["RolloutStarted", "SwitchoverStarted", "FailoverCompleted", "RolloutCompleted"]


async def test_what_reloads_restarts_nobody(running: Stage) -> None:
    ask(running, work_mem="8MB")
    await running.settle()
    assert deleted(running) == []


async def test_a_rollout_whose_new_pod_does_not_come_up_costs_one_reader(running: Stage) -> None:
    writer = running.status["writer"]
    running.world.stuck = {ROLLED}
    ask(running, **{ROLLED: "5"})
    await running.settle()
    assert len(deleted(running)) == 1
    assert running.status["writer"] == writer
    found, parameters = told(running)["InstancesUpToDate"], told(running)["ParametersApplied"]
    (new,) = set(instance_pods(running)) - {s.name for s in statuses(running) if s.ready}
    assert found["reason"] == "Waiting"
    assert f"waits for {new} to become ready" in found["message"]
    assert parameters["reason"] == "RestartPending"
    assert ROLLED in parameters["message"]
    assert f"waits for {new}" in parameters["message"]


def statuses(stage: Stage) -> list[InstanceStatus]:
    return [s for s in stage.world.statuses.values() if isinstance(s, InstanceStatus)]


async def test_taking_the_change_back_ends_the_rollout(running: Stage) -> None:
    running.world.stuck = {ROLLED}
    ask(running, **{ROLLED: "5"})
    await running.settle()
    ask(running)
    await running.settle()
    assert len(deleted(running)) == 1
    assert running.status["readers"] == 2
    assert told(running)["InstancesUpToDate"]["status"] == "True"


def silence_storage(stage: Stage) -> None:
    for index in (0, 1, 2):
        stage.world.unplug(stage.pod(f"orders-storage-{index}")["metadata"]["uid"], silent_for=2.0)


def unready_reader(stage: Stage) -> None:
    name = next(n for n in instance_pods(stage) if n != stage.status["writer"])
    uid = stage.pod(name)["metadata"]["uid"]
    status = stage.world.statuses[uid]
    assert isinstance(status, InstanceStatus)
    stage.world.statuses[uid] = replace(status, ready=False, message="too far behind")


def terminating(stage: Stage) -> None:
    name = next(n for n in instance_pods(stage) if n != stage.status["writer"])
    leaving = {**stage.pod(name), "metadata": {**stage.pod(name)["metadata"], "name": "orders-instance-9-leave"}}
    leaving["metadata"] |= {"uid": "leaving", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    stage.kube.put(leaving)
    stage.world.statuses["leaving"] = InstanceStatus(name="orders-instance-9-leave", role=Role.STOPPED)


@pytest.mark.parametrize("amiss", [silence_storage, unready_reader, terminating], ids=lambda a: str(a.__name__))
async def test_nobody_is_restarted_while_anything_is_amiss(running: Stage, amiss: Callable[[Stage], None]) -> None:
    ask(running, **{ROLLED: "5"})
    amiss(running)
    for _ in range(3):
        await running.reconciler.once(KEY)
    assert deleted(running) == []
    assert told(running)["InstancesUpToDate"]["reason"] == "Waiting"
    assert told(running)["ParametersApplied"]["reason"] == "RestartPending"


async def test_a_crash_after_each_action_converges(running: Stage) -> None:
    ask(running, **{ROLLED: "5"})
    before = set(instance_pods(running))
    for budget in range(200):
        running.kube.crash_after = budget % 5
        try:
            await running.reconciler.once(KEY)
        except Crash:
            running.restart_operator()
        running.world.run()
        running.now += 2.0
    running.kube.crash_after = None
    await running.settle()
    assert not before & set(instance_pods(running))
    assert running.status["status"] == "available"
    assert running.status["readers"] == 2
    assert len(running.world.writers()) == 1


async def test_an_agent_of_an_older_release_is_made_anew_for_the_first_parameter(running: Stage) -> None:
    """It answers that it knows of no settings, and the link remembers that."""
    before = instance_pods(running)
    running.world.outdated = {running.pod(n)["metadata"]["uid"] for n in before}
    for name in before:
        container = running.kube.objects["Pod", KEY.namespace, name]["spec"]["containers"][0]
        container["env"] = [e for e in container["env"] if "SETTINGS" not in e["name"]]
    ask(running, work_mem="8MB")
    await running.settle()
    assert sorted(deleted(running)) == before
    assert told(running)["ParametersApplied"]["status"] == "True"


async def test_what_one_instance_refuses_restarts_no_other(running: Stage) -> None:
    """It did not start with the value, runs without, and says so: the others are spared."""
    writer = running.status["writer"]
    ask(running, **{ROLLED: "5"})
    running.kube.on_write = lambda verb, kind, name: (
        running.world.unknown.update({ROLLED: "PostgreSQL did not start with it"}) if verb == "delete" else None
    )
    await running.settle()
    assert len(deleted(running)) == 1
    assert running.status["writer"] == writer
    assert told(running)["ParametersApplied"]["reason"] == "ParameterRefused"
    assert told(running)["InstancesUpToDate"]["status"] == "True"


async def test_a_changed_class_is_rolled_too(running: Stage) -> None:
    before, writer, ready = instance_pods(running), running.status["writer"], watch_readiness(running)
    spec = running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    spec["instance"] = {"dbInstanceClass": "db.small"}
    await running.settle()
    assert sorted(deleted(running)) == before
    assert deleted(running)[-1] == writer
    assert ready == [3, 3, 3]
    for name in instance_pods(running):
        requests = running.pod(name)["spec"]["containers"][0]["resources"]["requests"]
        assert requests == {"cpu": "500m", "memory": "1Gi"}


async def test_an_unknown_class_restarts_nobody(running: Stage) -> None:
    spec = running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    spec["instance"] = {"dbInstanceClass": "db.enormous"}
    await running.settle()
    assert deleted(running) == []


async def test_a_class_that_leaves_the_chart_restarts_nobody(running: Stage) -> None:
    spec = running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    spec["instance"] = {"dbInstanceClass": "db.small"}
    await running.settle()
    before = instance_pods(running)
    running.reconciler.catalogue = replace(running.reconciler.catalogue, classes={"db.other": Resources(cpu="1")})
    await running.settle()
    assert instance_pods(running) == before
    assert told(running)["Reconciled"]["status"] == "False"


async def test_an_upgrade_alone_restarts_nobody(running: Stage) -> None:
    """Pods of an operator that knew nothing of sizes, settings and certificates are as they should be."""
    for name in instance_pods(running):
        live = running.kube.objects["Pod", KEY.namespace, name]
        del live["metadata"]["annotations"]["borealis.dev/resources"]
        container = live["spec"]["containers"][0]
        container["env"] = [e for e in container["env"] if "SETTINGS" not in e["name"] and "SERVER" not in e["name"]]
        container.pop("resources")
    running.restart_operator()
    await running.settle()
    assert deleted(running) == []
    assert told(running)["InstancesUpToDate"]["status"] == "True"


async def test_a_reader_leaves_the_endpoint_a_pass_before_it_is_restarted(running: Stage) -> None:
    ask(running, **{ROLLED: "5"})
    offered = []
    for _ in range(20):
        writer, known = running.status["writer"], len(deleted(running))
        addresses = running.addresses("orders-ro")
        ips = {n: running.pod(n)["status"]["podIP"] for n in running.named("Pod")}
        await running.reconciler.once(KEY)
        offered += [ips[name] in addresses for name in deleted(running)[known:] if name != writer]
        running.world.run()
        running.now += 2.0
    assert offered == [False, False]


async def test_a_writer_that_is_about_to_end_is_no_cancelled_failover(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the deletion of its pod and its last word it still writes."""
    writer, remove = running.status["writer"], FakeKube.remove

    def linger(kube: FakeKube, kind: str, namespace: str, name: str) -> None:
        if name == writer:
            kube.objects[kind, namespace, name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            remove(kube, kind, namespace, name)

    ask(running, **{ROLLED: "5"})
    with monkeypatch.context() as patch:
        patch.setattr(FakeKube, "remove", linger)
        await running.settle()
        assert running.status["status"] == "failing-over"
        assert running.events()[-1] == "SwitchoverStarted"
    running.kube.remove("Pod", KEY.namespace, writer)
    running.world.run()
    await running.settle()
    assert running.status["status"] == "available"
    assert running.status["writer"] not in ("", writer)
    assert not {"FailoverCancelled", "FailoverStarted"} & set(running.events())
