"""The status of a DBInstance: what its pod is, and what is wrong with what was asked for.

Condition `Ready` says whether it takes connections; its reason names the user's mistake if there is one, since that is
what somebody can do something about.
"""

from collections.abc import Mapping
from typing import Any, Final

from borealis_engine.contract.status import InstanceStatus, Role

from borealis_operator.plan.conditions import Condition, condition, stamp_conditions
from borealis_operator.plan.facts import Facts, Pod
from borealis_operator.plan.roster import LIMIT, Place, has_generated_form
from borealis_operator.render.objects import rfc3339
from borealis_operator.render.resources import bears

AVAILABLE: Final = "available"
WAITING: Final = "waiting"


def render_instance_status(facts: Facts, place: Place, pod: Pod | None) -> Mapping[str, Any]:
    """Give the status of one DBInstance: empty strings where there is nothing to say."""
    instance, said = place.instance, pod.instance_status if pod else None
    fresh = [ready_condition(place, pod), *reserved_conditions(facts.cluster.name, place)]
    return {
        "status": _word(place, pod, said),
        "role": said.role.value if said else "",
        "pod": pod.name if pod else "",
        "zone": pod.zone if pod else "",
        "node": pod.node if pod else "",
        **_class_of_pod(facts, place, pod),
        "conditions": stamp_conditions(
            fresh,
            instance.status.get("conditions") or (),
            generation=instance.generation,
            now=rfc3339(facts.now),
        ),
    }


def _class_of_pod(facts: Facts, place: Place, pod: Pod | None) -> Mapping[str, str]:
    """Give the class that the pod has, to be remembered beyond it; nothing if what was said before still holds."""
    live = facts.live("Pod", pod.name) if pod else None
    if live is None:
        return {}
    if place.size.resources is not None and bears(live, place.size.resources):
        return {"dbInstanceClass": place.size.name}
    return {} if "dbInstanceClass" in place.instance.status else {"dbInstanceClass": ""}


def ready_condition(place: Place, pod: Pod | None) -> Condition:
    """Say whether an instance takes connections, and first of all what is wrong with its spec."""
    said = pod.instance_status if pod else None
    ready = _serves(said)
    reason, fault = _fault(place)
    if fault:
        return condition("Ready", ready, reason, fault + _consequence(place, pod))
    if pod and said and ready:
        return condition("Ready", True, "Available", f"{pod.name} takes connections as {said.role.value}")
    if pod and said:
        return condition("Ready", False, "Starting", f"{pod.name}: {said.message or f'is {said.role.value}'}")
    if pod and pod.agent.status is not None:
        return condition("Ready", False, "NotResponding", f"{pod.name} does not answer")
    if pod and pod.unschedulable:
        return condition("Ready", False, "Unschedulable", f"no node of zone {pod.zone} takes {pod.name}")
    return condition("Ready", False, "Starting", f"{pod.name} starts" if pod else "its pod is being made")


def reserved_conditions(cluster: str, place: Place) -> list[Condition]:
    """Say that a user's DBInstance bears a name of the operator's own form; nothing otherwise."""
    name = place.instance.name
    if place.instance.generated or not has_generated_form(cluster, name):
        return []
    message = (
        f"{name} is of the form that the operator generates for {cluster}: it stays yours, spec.readers neither counts "
        "nor removes it, and the operator takes other numbers; choose another name to tell them apart"
    )
    return [condition("NameReserved", True, "GeneratedForm", message)]


def _fault(place: Place) -> tuple[str, str]:
    """Give reason and words for what the user must correct."""
    if place.excess:
        return "LimitExceeded", f"there are {LIMIT} instances already, the most of a cluster; delete another DBInstance"
    if place.size.fault:
        return "UnknownClass", str(place.size.fault)
    return ("ConfigInvalid", place.instance.fault) if place.instance.fault else ("", "")


def _consequence(place: Place, pod: Pod | None) -> str:
    """Say what the mistake leads to."""
    if pod:
        return f" (until then {pod.name} stays as it is)"
    return "" if place.staffed else " (until then there is no pod)"


def _word(place: Place, pod: Pod | None, said: InstanceStatus | None) -> str:
    if said is None:
        unmade = WAITING if not place.staffed else "creating"
        return unmade if pod is None else "creating" if pod.agent.status is None else "not-responding"
    if _serves(said):
        return AVAILABLE
    return "failing-over" if said.role is Role.PROMOTING else "creating"


def _serves(said: InstanceStatus | None) -> bool:
    return said is not None and said.ready and said.role in (Role.WRITER, Role.READER)
