"""A storage node is replaced, in process: what sets it off, what stays as it is, a crash after each write."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from borealis_engine.contract.status import StorageState
from borealis_engine.contract.volume import VolumeConfig

from .conftest import KEY, Stage

VICTIM = "orders-storage-3"
PVC = "PersistentVolumeClaim"
NOW = "2027-01-15T08:00:00Z"


def config(stage: Stage) -> VolumeConfig:
    return VolumeConfig.from_json(stage.kube.objects["ConfigMap", KEY.namespace, "orders-volume"]["data"]["volume"])


def names(stage: Stage) -> list[str]:
    return sorted(m.name for m in config(stage).members)


def told(stage: Stage, kind: str) -> dict[str, Any]:
    return next((c for c in stage.status["conditions"] if c["type"] == kind), {})


def entry(stage: Stage, name: str) -> dict[str, Any]:
    return next((e for e in stage.status["storageNodes"] if e["name"] == name), {})


def says(stage: Stage, name: str, state: StorageState, message: str = "") -> None:
    uid = stage.pod(name)["metadata"]["uid"]
    stage.world.statuses[uid] = replace(stage.world.statuses[uid], state=state, message=message)  # type: ignore[call-arg]


def lose_claim(stage: Stage) -> None:
    stage.kube.remove("Pod", KEY.namespace, VICTIM)
    stage.kube.remove(PVC, KEY.namespace, VICTIM)


def lose_claim_of_a_pending_pod(stage: Stage) -> None:
    stage.kube.remove(PVC, KEY.namespace, VICTIM)
    stage.kube.remove("Pod", KEY.namespace, VICTIM)
    pod = {"kind": "Pod", "metadata": {"name": VICTIM, "namespace": KEY.namespace}}
    owner = stage.pod("orders-storage-0")
    pod["metadata"] |= {k: owner["metadata"][k] for k in ("labels", "annotations", "ownerReferences")}
    stage.kube.put(pod | {"spec": owner["spec"] | {"nodeName": ""}, "status": {"phase": "Pending"}})


def come_up_empty(stage: Stage) -> None:
    says(stage, VICTIM, StorageState.DISK_LOST)


def claim_is_going(stage: Stage) -> None:
    """`kubectl delete pvc` of a pod that runs: the claim stays until the pod ends."""
    stage.kube.objects[PVC, KEY.namespace, VICTIM]["metadata"]["deletionTimestamp"] = NOW


CERTAIN: dict[str, Callable[[Stage], None]] = {
    "claim deleted": lose_claim,
    "claim of a pending pod deleted": lose_claim_of_a_pending_pod,
    "disk empty": come_up_empty,
    "claim going": claim_is_going,
}


async def a_while(stage: Stage, seconds: float) -> None:
    for _ in range(int(seconds / 2)):
        await stage.reconciler.once(KEY)
        stage.world.run()
        stage.now += 2.0


def assert_healed(stage: Stage, *, new: str = "orders-storage-6") -> None:
    assert names(stage) == sorted([f"orders-storage-{n}" for n in (0, 1, 2, 4, 5)] + [new])
    assert config(stage).joining is None
    assert stage.status["storage"] == "6/6"
    pods = [n for n in stage.named("Pod") if "storage" in n]
    assert pods == names(stage)
    going = [
        n for n in stage.named(PVC) if stage.kube.objects[PVC, KEY.namespace, n]["metadata"].get("deletionTimestamp")
    ]
    assert sorted(set(stage.named(PVC)) - set(going)) == names(stage)
    assert [e["state"] for e in stage.status["storageNodes"]] == ["current"] * 6
    assert told(stage, "StorageReplacement") == {}


@pytest.mark.parametrize("lose", CERTAIN.values(), ids=CERTAIN)
async def test_what_is_lost_for_certain_is_replaced_at_once(running: Stage, lose: Callable[[Stage], None]) -> None:
    before = config(running)
    old = next(m for m in before.members if m.name == VICTIM)
    lose(running)
    started = running.now
    await running.settle()
    assert running.now - started < 60
    assert_healed(running)
    new = next(m for m in config(running).members if m.name == "orders-storage-6")
    assert (new.zone, config(running).generation) == (old.zone, before.generation + 2)
    assert new.id not in {m.id for m in before.members}
    assert [m.name for m in config(running).members].index(new.name) == 3  # in its place
    assert [e for e in running.events() if e.startswith("Replacement")] == [
        "ReplacementStarted",
        "ReplacementCompleted",
    ]


async def test_a_replacement_leaves_a_second_pass_nothing_to_do(running: Stage) -> None:
    lose_claim(running)
    await running.settle()
    before = list(running.kube.writes)
    running.now += 5
    await running.reconciler.once(KEY)
    assert running.kube.writes == before


async def test_while_one_joins_six_old_ones_count_and_the_status_says_so(running: Stage) -> None:
    running.world.slow.add("orders-storage-6")
    node = running.pod(VICTIM)["spec"]["nodeName"]
    lose_claim(running)
    await a_while(running, 20)
    assert running.status["storage"] == "5/6"
    assert VICTIM in names(running)
    assert told(running, "StorageReplacement")["status"] == "True"
    message = told(running, "StorageHealthy")["message"]
    assert f"{VICTIM} has lost its claim (zone a, node {node}, since " in message
    assert "orders-storage-6 takes its place" in message
    assert entry(running, "orders-storage-6")["message"].startswith(f"takes the place of {VICTIM}")
    assert entry(running, VICTIM)["state"] == "missing"
    before = list(running.kube.writes)
    running.now += 5
    await running.reconciler.once(KEY)
    assert running.kube.writes == before


async def test_a_silent_one_is_waited_for_and_a_restart_of_the_operator_does_not_begin_anew(running: Stage) -> None:
    running.world.unplug(running.pod(VICTIM)["metadata"]["uid"], silent_for=1.0)
    await a_while(running, 200)
    assert config(running).joining is None
    assert 150 <= entry(running, VICTIM)["waitedSeconds"] <= 200
    assert "if that lasts for 300 s" in told(running, "StorageHealthy")["message"]
    running.restart_operator()
    await a_while(running, 90)
    assert config(running).joining is None
    await a_while(running, 90)
    assert_healed(running)


async def test_the_delay_is_the_users(running: Stage) -> None:
    spec = running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    spec["storage"] = {"replacementDelay": "10s"}
    running.world.unplug(running.pod(VICTIM)["metadata"]["uid"], silent_for=1.0)
    await a_while(running, 40)
    assert_healed(running)


async def test_one_that_comes_back_in_time_is_kept(running: Stage) -> None:
    uid = running.pod(VICTIM)["metadata"]["uid"]
    for _ in range(3):
        running.world.unplug(uid, silent_for=1.0)
        await a_while(running, 200)
        del running.world.unplugged[uid]
        await a_while(running, 10)
        assert "waitedSeconds" not in entry(running, VICTIM)
    assert config(running).generation == 1
    assert running.status["storage"] == "6/6"


async def test_waiting_is_written_down_in_quarters_alone(running: Stage) -> None:
    running.world.unplug(running.pod(VICTIM)["metadata"]["uid"], silent_for=1.0)
    await a_while(running, 4)
    running.kube.writes.clear()
    await a_while(running, 200)
    assert len([w for w in running.kube.writes if w[0] == "status"]) == 2


async def test_time_does_not_count_while_the_operator_is_cut_off(running: Stage) -> None:
    for number in (1, 2, 3):
        running.world.unplug(running.pod(f"orders-storage-{number}")["metadata"]["uid"], silent_for=1.0)
    await a_while(running, 1000)
    assert config(running).generation == 1
    for number in (1, 2):
        del running.world.unplugged[running.pod(f"orders-storage-{number}")["metadata"]["uid"]]
    await a_while(running, 200)
    assert config(running).joining is None


async def test_a_frozen_operator_does_not_count_its_own_absence(running: Stage) -> None:
    running.world.unplug(running.pod(VICTIM)["metadata"]["uid"], silent_for=1.0)
    await a_while(running, 10)
    running.now += 4000
    await a_while(running, 10)
    assert config(running).generation == 1


@pytest.mark.parametrize(
    ("message", "healed"), [("fdatasync: Input/output error", True), ("pwrite: disk full", False)], ids=["eio", "full"]
)
async def test_a_failed_disk_is_replaced_after_the_delay_and_a_full_one_is_not(
    running: Stage, message: str, healed: bool
) -> None:
    says(running, VICTIM, StorageState.FAILED, message)
    await a_while(running, 280)
    assert config(running).generation == 1
    assert message in entry(running, VICTIM)["message"]
    await a_while(running, 60)
    assert (config(running).generation > 1) is healed
    if not healed:
        assert "enlarge its claim" in told(running, "StorageHealthy")["message"]


async def test_a_kubernetes_node_that_is_gone_for_good_costs_one_member_and_heals(running: Stage) -> None:
    """The pod goes with the Node, the claim stays bound to it: the next pod fits nowhere."""
    node = running.pod(VICTIM)["spec"]["nodeName"]
    running.kube.remove("Node", "", node)
    running.kube.remove("Pod", KEY.namespace, VICTIM)
    await a_while(running, 20)
    assert VICTIM in running.named("Pod")
    assert f"Kubernetes node {node} is gone" in entry(running, VICTIM)["message"]
    assert entry(running, VICTIM)["node"] == node
    await a_while(running, 330)
    assert_healed(running)
    assert running.pod("orders-storage-6")["spec"]["nodeName"] != node


async def test_no_replacement_where_no_kubernetes_node_is(running: Stage) -> None:
    for number in (0, 1):
        running.kube.remove("Node", "", f"node-a{number}")
    await a_while(running, 4)
    lose_claim(running)
    await a_while(running, 20)
    assert config(running).generation == 1
    assert "no Kubernetes node of zone a takes a new one" in told(running, "StorageHealthy")["message"]


async def test_a_new_one_prefers_a_node_without_another_member(running: Stage) -> None:
    other = running.pod("orders-storage-0")["spec"]["nodeName"]
    old = running.pod(VICTIM)["spec"]["nodeName"]
    assert other != old
    come_up_empty(running)
    await a_while(running, 6)
    affinity = running.pod("orders-storage-6")["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    (expression,) = term["preference"]["matchExpressions"]
    assert expression["operator"] == "NotIn"
    assert f"{other}.local" in expression["values"]
    assert f"{old}.local" not in expression["values"]
    required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]["matchExpressions"]
    assert required == [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]}]


async def test_never_two_at_once(running: Stage) -> None:
    running.world.slow.add("orders-storage-6")
    lose_claim(running)
    says(running, "orders-storage-4", StorageState.DISK_LOST)
    await a_while(running, 20)
    assert config(running).joining
    assert config(running).generation == 2
    assert "it is looked at once orders-storage-6 has joined" in told(running, "StorageHealthy")["message"]
    running.world.slow.clear()
    await running.settle()
    assert names(running) == [f"orders-storage-{n}" for n in (0, 1, 2, 5, 6, 7)]
    assert running.status["storage"] == "6/6"


async def test_never_while_fewer_than_four_others_are_current(running: Stage) -> None:
    for number in (3, 4):
        says(running, f"orders-storage-{number}", StorageState.CATCHING_UP)
    says(running, "orders-storage-5", StorageState.DISK_LOST)
    await a_while(running, 20)
    assert config(running).generation == 1
    health = told(running, "StorageHealthy")
    assert health["reason"] == "NoWriteQuorum"
    assert "3 of 6 storage nodes are current and 4 are needed: no commit is acknowledged" in health["message"]
    assert "writing goes on by itself once one more is back" in health["message"]
    assert "cannot be replaced while fewer than 4 others are current (3 are)" in health["message"]


async def test_given_up_when_the_old_one_is_back_before_the_new_one_is_far(running: Stage) -> None:
    running.world.slow.add("orders-storage-6")
    uid = running.pod(VICTIM)["metadata"]["uid"]
    running.world.unplug(uid, silent_for=1.0)
    await a_while(running, 320)
    assert config(running).joining
    del running.world.unplugged[uid]
    await running.settle()
    assert names(running) == [f"orders-storage-{n}" for n in range(6)]
    assert (config(running).joining, config(running).generation) == (None, 3)
    assert "orders-storage-6" not in running.named("Pod") + running.named(PVC)
    assert running.events().count("ReplacementGivenUp") == 1


async def test_a_new_one_that_loses_its_disk_makes_room_for_another(running: Stage) -> None:
    running.world.slow.add("orders-storage-6")
    lose_claim(running)
    await a_while(running, 8)
    running.kube.remove("Pod", KEY.namespace, "orders-storage-6")
    running.kube.remove(PVC, KEY.namespace, "orders-storage-6")
    running.world.slow.clear()
    await running.settle()
    assert config(running).generation == 5
    assert running.status["storage"] == "6/6"
    assert len(running.world.disks.values()) == len(set(running.world.disks.values()))  # no identity twice


async def test_a_new_claim_is_as_large_as_the_largest(running: Stage) -> None:
    live = running.kube.objects[PVC, KEY.namespace, "orders-storage-0"]
    live["spec"]["resources"]["requests"]["storage"] = "40Gi"
    lose_claim(running)
    await running.settle()
    made = running.kube.objects[PVC, KEY.namespace, "orders-storage-6"]
    assert made["spec"]["resources"]["requests"]["storage"] == "40Gi"
