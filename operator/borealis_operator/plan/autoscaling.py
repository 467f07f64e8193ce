"""Autoscaling of readers: a HorizontalPodAutoscaler while `spec.readerAutoscaling` is there, and none otherwise.

The autoscaler decides, the operator follows `spec.readers` within the bounds. What ails the autoscaler is told on the
DBCluster, where the user asked for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from borealis_operator.api.autoscaling import FIELD, Autoscaling
from borealis_operator.api.fields import section
from borealis_operator.plan.actions import Action, Delete
from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.facts import Facts, Manifest
from borealis_operator.plan.upkeep import keep
from borealis_operator.render.autoscaling import AUTOSCALER, autoscaler_name, render_autoscaler

ACTIVE: Final = "AutoscalingActive"
REMEDIES: Final[Mapping[str, str]] = {
    "FailedGetResourceMetric": "install metrics-server if there is none, and see that this works: kubectl top pods",
}


def tend_autoscaler(facts: Facts) -> Iterator[Action]:
    """Give what makes the HorizontalPodAutoscaler as asked, or takes it away."""
    cluster, scaling = facts.cluster, facts.cluster.spec.autoscaling
    live = facts.live(AUTOSCALER, autoscaler_name(cluster.name))
    if any(fault.field.startswith(FIELD) for fault in facts.faults):
        return  # what was asked for is unknown: what there is stays
    if scaling:
        yield from keep(facts, render_autoscaler(cluster, scaling))
    elif live:
        yield Delete(kind=AUTOSCALER, name=live["metadata"]["name"], uid=live["metadata"]["uid"])


def autoscaling_conditions(facts: Facts) -> list[Condition]:
    """Say whether the HorizontalPodAutoscaler works, in its own words if not; nothing without autoscaling."""
    scaling = facts.cluster.spec.autoscaling
    if not scaling:
        return []
    name = autoscaler_name(facts.cluster.name)
    live = facts.live(AUTOSCALER, name)
    return [_judge(name, live, scaling)]


def _judge(name: str, live: Manifest | None, scaling: Autoscaling) -> Condition:
    if live is None:
        return condition(ACTIVE, False, "Creating", f"HorizontalPodAutoscaler {name} is being made")
    told = {c.get("type"): c for c in section(live, "status").get("conditions") or ()}
    if not told:
        return condition(ACTIVE, False, "Waiting", f"HorizontalPodAutoscaler {name} has not been looked at yet")
    for kind in ("AbleToScale", "ScalingActive"):
        if told.get(kind, {}).get("status") == "False":
            return condition(ACTIVE, False, *_trouble(told[kind]))
    limited = told.get("ScalingLimited", {})
    if limited.get("status") == "True" and limited.get("reason") == "TooManyReplicas":
        message = f"the load calls for more than {scaling.max_readers} readers; raise {FIELD}.maxReaders to allow them"
        return condition(ACTIVE, True, "TooManyReaders", message)
    bounds = f"{scaling.min_readers} to {scaling.max_readers} readers"
    return condition(ACTIVE, True, "Active", f"{bounds}, aiming at {scaling.target_cpu} % of the processors requested")


def _trouble(told: Mapping[str, Any]) -> tuple[str, str]:
    reason, message = str(told.get("reason") or "Unknown"), str(told.get("message") or "no details")
    remedy = REMEDIES.get(reason, "")
    return reason, f"{message}; {remedy}" if remedy else message
