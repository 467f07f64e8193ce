"""A storage node that is slow is named, waited for, and replaced if it stays so: but only if the cause is its own."""

from dataclasses import replace

import pytest

from .conftest import KEY, Stage
from .test_operator_healing import VICTIM, a_while, assert_healed, config, entry, told


def hears_late(stage: Stage, *names: str, seconds: int = 10) -> None:
    """Have the writer say that these storage nodes are slow."""
    uid = stage.writer_pod()["metadata"]["uid"]
    stage.world.statuses[uid] = replace(stage.world.statuses[uid], slow=dict.fromkeys(names, seconds))  # type: ignore[call-arg]


async def test_one_that_is_slow_is_named_and_counts_as_current(running: Stage) -> None:
    hears_late(running, VICTIM)
    await running.reconciler.once(KEY)
    healthy = told(running, "StorageHealthy")
    assert (healthy["status"], healthy["reason"]) == ("True", "SomeSlow")
    assert healthy["message"].startswith(
        f"6 of 6 storage nodes are current: {VICTIM} is slow (for 10 s) (zone a, node "
    )
    assert healthy["message"].endswith(
        "a new one takes its place if that lasts for 300 s (spec.storage.replacementDelay)"
    )
    assert running.status["storage"] == "6/6"
    assert entry(running, VICTIM)["message"].startswith("is slow (for 10 s); a new one takes its place if")
    hears_late(running)
    await running.reconciler.once(KEY)
    assert told(running, "StorageHealthy")["reason"] == "AllCurrent"


async def test_one_that_stays_slow_is_replaced_on_another_node(running: Stage) -> None:
    old = running.pod(VICTIM)["spec"]["nodeName"]
    hears_late(running, VICTIM)
    await a_while(running, 280)
    assert config(running).joining is None
    await a_while(running, 26)
    affinity = running.pod("orders-storage-6")["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    off = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [f"{old}.local"]}
    assert off in term["matchExpressions"]
    hears_late(running)
    await running.settle()
    assert_healed(running)


async def test_one_that_was_slow_for_a_while_pays_it_back(running: Stage) -> None:
    for _ in range(3):
        hears_late(running, VICTIM)
        await a_while(running, 200)
        hears_late(running)
        await a_while(running, 30)
    assert (config(running).joining, int(config(running).generation)) == (None, 1)
    assert "waitedSeconds" not in entry(running, VICTIM)


async def test_one_that_is_slow_again_and_again_is_replaced(running: Stage) -> None:
    for _ in range(4):
        hears_late(running, VICTIM)
        await a_while(running, 120)
        hears_late(running)
        await a_while(running, 4)
    assert VICTIM not in [m.name for m in config(running).members]


@pytest.mark.parametrize("joins", [False, True])
async def test_a_writer_that_is_not_heard_for_a_moment_forgives_nobody(running: Stage, joins: bool) -> None:
    running.world.slow.add("orders-storage-6")  # does not catch up
    hears_late(running, VICTIM)
    await a_while(running, 320 if joins else 250)
    assert (config(running).joining is not None) == joins
    uid = running.writer_pod()["metadata"]["uid"]
    running.world.unplug(uid, silent_for=1.5)
    await a_while(running, 4)
    del running.world.unplugged[uid]
    hears_late(running, VICTIM)
    await a_while(running, 100)  # far less than the whole delay
    assert config(running).joining
    assert "ReplacementGivenUp" not in running.events()


async def test_a_replacement_of_a_slow_one_is_given_up_when_that_one_is_in_time_again(running: Stage) -> None:
    running.world.slow.add("orders-storage-6")  # does not catch up
    hears_late(running, VICTIM)
    await a_while(running, 320)
    assert config(running).joining
    hears_late(running)
    await a_while(running, 20)
    assert config(running).joining, "it has been in time for a moment only"
    await a_while(running, 40)
    assert config(running).joining is None
    assert VICTIM in [m.name for m in config(running).members]
    assert "ReplacementGivenUp" in running.events()


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("orders-storage-0", "orders-storage-3"), "the other one of zone a is slow too"),
        (("orders-storage-1", "orders-storage-3", "orders-storage-5"), "more are slow: look at the writer's node"),
    ],
    ids=["both of a zone", "three"],
)
async def test_what_is_not_a_members_own_fault_replaces_none(running: Stage, names: tuple[str, ...], why: str) -> None:
    hears_late(running, *names)
    await a_while(running, 400)
    assert why in told(running, "StorageHealthy")["message"]
    hears_late(running, VICTIM)  # the end of it does not come for all at once
    await a_while(running, 20)
    assert int(config(running).generation) == 1


async def test_one_whose_node_is_the_only_one_of_its_zone_stays(running: Stage) -> None:
    old = running.pod(VICTIM)["spec"]["nodeName"]
    for (kind, _, name), node in running.kube.objects.items():
        if kind == "Node" and name != old and name.startswith("node-a"):
            node["spec"] = {"unschedulable": True}
    hears_late(running, VICTIM)
    await a_while(running, 320)
    assert int(config(running).generation) == 1
    assert "no other Kubernetes node of zone a takes a new one" in told(running, "StorageHealthy")["message"]


async def test_two_that_are_slow_by_themselves_are_replaced_one_after_the_other(running: Stage) -> None:
    hears_late(running, "orders-storage-1", VICTIM)
    await a_while(running, 320)
    hears_late(running, VICTIM)  # the first one is gone
    await a_while(running, 60)
    hears_late(running)
    await running.settle()
    assert running.events().count("ReplacementCompleted") == 2
    assert running.status["storage"] == "6/6"


async def test_while_another_one_is_away_a_slow_one_stays(running: Stage) -> None:
    away = next(m.id for m in config(running).members if m.name == "orders-storage-4")
    hears_late(running, VICTIM)
    await a_while(running, 30)
    running.world.unplug(running.pod("orders-storage-4")["metadata"]["uid"], silent_for=1.0)
    await a_while(running, 290)
    assert int(config(running).generation) == 1, "the slow one is due, and five are current"
    assert "it is replaced once all others are current" in told(running, "StorageHealthy")["message"]
    running.world.slow.add("orders-storage-6")  # does not catch up
    await a_while(running, 30)
    joining = config(running).joining
    assert joining
    assert joining.replaces == away
