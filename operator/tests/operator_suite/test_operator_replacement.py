"""Which instance pods are given up, on whose word, and where the next one goes."""

from typing import Any

import pytest
from borealis_engine.contract.status import Role
from borealis_operator.plan.facts import Agent, Pod
from borealis_operator.plan.placement import choose_instance_zone
from borealis_operator.plan.replacement import plan_replacement

from .test_operator_plans import R, instance, node, pod, says

LOST: dict[str, tuple[Pod, bool]] = {
    "well": (pod(agent=says(R)), False),
    "failed": (pod(phase="Failed"), True),
    "silent a little": (pod(agent=says(R, suspect=True, silent_for=3.0)), False),
    "silent for long": (pod(agent=says(R, suspect=True, silent_for=6.0)), True),
    "restarting": (pod(agent=says(R, suspect=True, refused=True, silent_for=6.0)), False),
    "does not restart": (pod(agent=says(R, suspect=True, refused=True, silent_for=21.0)), True),
    "never heard": (pod(agent=Agent(suspect=True, silent_for=30.0)), False),
    "never heard for long": (pod(agent=Agent(suspect=True, silent_for=50.0)), True),
    "silent on a dead node": (pod(node="dead", agent=says(R, suspect=True, refused=True, silent_for=1.0)), True),
    "fits nowhere": (pod(phase="Pending", unschedulable=True), True),
}


@pytest.mark.parametrize(("one", "lost"), LOST.values(), ids=LOST)
def test_replacement(one: Pod, lost: bool) -> None:
    nodes = [node("a"), node("dead", ready=False, name="dead")]
    plan = plan_replacement([one], [instance("i1")], nodes, now=100.0, cut_off=False)
    assert [loss.pod for loss in plan.losses] == ([one] if lost else [])
    assert bool(plan.bare) == lost


LOST_ANYWAY = {"failed", "does not restart", "silent on a dead node", "fits nowhere"}


@pytest.mark.parametrize(("case", "one"), [(case, one) for case, (one, _) in LOST.items()], ids=LOST)
def test_silence_counts_for_nothing_to_an_operator_that_is_cut_off(case: str, one: Pod) -> None:
    nodes = [node("a"), node("dead", ready=False, name="dead")]
    plan = plan_replacement([one], [instance("i1")], nodes, now=100.0, cut_off=True)
    assert bool(plan.losses) == (case in LOST_ANYWAY)


def test_a_zone_that_took_no_pod_is_not_asked_again_at_once() -> None:
    one = pod(phase="Pending", unschedulable=True, zone="b")
    plan = plan_replacement([one], [instance("i1")], [], now=100.0, cut_off=False)
    nodes = [node(z) for z in "abc"]
    assert plan.full == {"b"}
    assert choose_instance_zone("abc", nodes, ["a", "c", "c"], writer_zone="a", full=plan.full) == "a"
    assert choose_instance_zone("abc", nodes[1:2], ["a", "c", "c"], writer_zone="a", full=plan.full) == "b"


def test_of_two_pods_the_writer_stays() -> None:
    writer, other = pod("i1-a", says(Role.WRITER, ready=True)), pod("i1-b", says(R, ready=True), created=9.0)
    plan = plan_replacement([writer, other], [instance("i1")], [], now=0.0, cut_off=False)
    assert [loss.pod.name for loss in plan.losses] == ["i1-b"]


def silent(name: str, seconds: float, **changes: Any) -> Pod:
    return pod(name, says(R, ready=True, suspect=True, silent_for=seconds), **changes)


def lost(*pods: Pod, now: float = 1000.0, vacant: bool = False) -> list[str]:
    instances = [instance(name) for name in sorted({p.instance for p in pods})]
    plan = plan_replacement(pods, instances, [node("a")], now=now, cut_off=False, vacant=vacant)
    gone = {loss.pod.name for loss in plan.losses}
    left = {p.instance for p in pods if p.name not in gone and not p.terminating}
    assert {i.name for i in plan.bare} == {i.name for i in instances} - left
    return sorted(gone)


def test_of_several_that_are_silent_at_once_one_is_given_up() -> None:
    assert lost(silent("i1-a", 6.0), silent("i2-a", 7.0), silent("i3-a", 6.0)) == ["i2-a"]
    assert lost(silent("i1-a", 6.0), silent("i2-a", 5.1), pod("i3-a", says(Role.WRITER, ready=True))) == ["i1-a"]


COMING = {
    "attaches": says(Role.ATTACHING),
    "is not heard yet": Agent(),
    "died of the same": says(Role.ATTACHING, suspect=True, silent_for=60.0),
    "starts again": says(Role.STARTING, suspect=True, refused=True, silent_for=60.0),
}


@pytest.mark.parametrize("agent", COMING.values(), ids=COMING)
def test_no_silent_one_is_given_up_while_a_successor_is_not_ready(agent: Agent) -> None:
    """What all died of may lie in the log: then the successor dies too, and the others are kept, to come back."""
    successor = pod("i1-b", agent, created=990.0)
    silents = [silent("i2-a", 70.0), silent("i3-a", 65.0)]
    assert not {"i2-a", "i3-a"} & set(lost(successor, *silents, vacant=False))
    assert lost(*silents, vacant=True) == []
    assert lost(*silents) == ["i2-a"]


def test_a_zone_of_readers_that_is_gone_is_replaced_in_turn() -> None:
    pods = {f"i{n}": silent(f"i{n}-a", 5.0 + n) for n in range(1, 5)}
    pods["i5"] = pod("i5-a", says(Role.WRITER, ready=True))
    given_up = []
    for turn in range(4):
        [name] = lost(*pods.values(), now=1000.0 + turn)
        given_up.append(name)
        fresh = pod(name[:2] + "-b", says(Role.ATTACHING), created=1000.0 + turn)
        assert lost(*{**pods, name[:2]: fresh}.values(), now=1000.5 + turn) == []
        pods[name[:2]] = pod(name[:2] + "-b", says(R, ready=True), created=1000.0 + turn)
    assert given_up == ["i4-a", "i3-a", "i2-a", "i1-a"]
    assert lost(*pods.values(), now=1010.0) == []


def test_those_whose_kubernetes_node_is_dead_are_given_up_together() -> None:
    pods = [silent(f"i{n}-a", 6.0, node="dead") for n in (1, 2, 3)]
    plan = plan_replacement(
        pods, [instance(f"i{n}") for n in (1, 2, 3)], [node("a", ready=False, name="dead")], now=9.0, cut_off=False
    )
    assert len(plan.losses) == 3
