"""Which instances have a pod of another size than they should have, and which of them are waited for in a rollout."""

from borealis_operator.api.instance import Instance
from borealis_operator.plan.facts import Facts, Pod
from borealis_operator.plan.roster import assign_places
from borealis_operator.render.resources import bears


def resized(facts: Facts, pod: Pod) -> str:
    """Say that an instance is to have another size than its pod; empty if not, or if it is unknown which."""
    place = next((p for p in assign_places(facts) if p.instance.name == pod.instance), None)
    live = facts.live("Pod", pod.name)
    if place is None or live is None or place.size.fault or place.size.resources is None:
        return ""
    if bears(live, place.size.resources):
        return ""
    wanted = f"class {place.size.name}" if place.size.name else "the resources of spec.instance"
    return f"it is to have {wanted}"


def staffed_instances(facts: Facts) -> tuple[Instance, ...]:
    """Give the DBInstances that have or will get a pod: nobody needs to wait for the others."""
    having = {p.instance for p in facts.instance_pods}
    barred = {p.instance.name for p in assign_places(facts) if not p.staffed and p.instance.name not in having}
    return tuple(i for i in facts.instances if i.name not in barred)
