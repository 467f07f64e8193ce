"""Which instance pods are given up, on whose word, and where the next one goes."""

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
