"""The rolling restart: instances that must be made anew to be as specified, one at a time, readers before the writer.

Nothing is restarted while anything else is amiss, so a change with which an instance does not come up costs one reader
and stops there. Only what the user changed counts: an upgrade of operator or chart replaces no pod.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.names import ENV_SETTINGS
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import Role
from borealis_engine.contract.volume import WRITE_QUORUM

from borealis_operator.api.fields import section
from borealis_operator.plan.actions import Action, Announce, Delete, Patch
from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.copies import heard_members
from borealis_operator.plan.departure import is_offered
from borealis_operator.plan.facts import Facts, Manifest, Pod
from borealis_operator.plan.resizing import resized, staffed_instances
from borealis_operator.plan.settings import restart_names, wanted_settings

UP_TO_DATE: Final = "InstancesUpToDate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A pod that must be made anew, and why."""

    pod: Pod
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Who is due, in order; and why nobody is restarted now, empty if the first one is."""

    due: tuple[Due, ...]
    waits: str


def plan_rollout(facts: Facts) -> Rollout:
    """Give the instances that are due, readers by promotion tier and then the writer, and what they wait for."""
    wanted, writer = wanted_settings(facts), facts.writer
    tiers = {i.name: i.tier for i in facts.instances if not i.deleting}
    own = [p for p in facts.instance_pods if p.instance in tiers and not p.terminating and not p.over]
    own.sort(key=lambda p: (p == writer, tiers[p.instance], p.name))
    due = tuple(Due(pod=p, reason=reason) for p in own if (reason := outdated(facts, p, wanted)))
    return Rollout(due=due, waits=_obstacle(facts) if due else "")


def outdated(facts: Facts, pod: Pod, wanted: Settings) -> str:
    """Say why a pod must be made anew to be as specified; empty if it need not be."""
    if names := restart_names(facts, pod, wanted):
        return f"parameters that take a restart: {', '.join(names)}"
    if pod.agent.outdated and wanted.parameters and _would_differ(facts, pod):
        return "it is of an older release, which takes no parameters"
    return resized(facts, pod)


def roll_out(facts: Facts) -> Iterator[Action]:
    """Give the deletion of the pod that is next, if nothing stands against it; its DBInstance gets a new one."""
    first = _next(facts)
    if first is None or is_offered(facts, first.pod):
        return  # this pass takes it out of the reader endpoint, a later one deletes it
    if first.pod != facts.writer:
        yield from _delete(first, "InstanceRestarting", f"{first.pod.name} is restarted")
        return
    heir = "a reader takes over" if len(facts.instances) > 1 else "a new instance takes over"
    yield Patch(kind="DBCluster", name=facts.cluster.name, body={"status": {"status": "failing-over"}}, status=True)
    yield from _delete(first, "SwitchoverStarted", f"{first.pod.name} is restarted and {heir}")


def restarting_pods(facts: Facts) -> frozenset[str]:
    """Give the name of the pod that is to be deleted as soon as no new connection can reach it."""
    first = _next(facts)
    return frozenset((first.pod.name,)) if first else frozenset()


def rollout_condition(facts: Facts) -> Condition:
    """Say whether every instance runs as specified, and if not, who is next or what the rollout waits for."""
    rollout = plan_rollout(facts)
    if not rollout.due:
        last = _obstacle(facts) if _before(facts) == "False" else ""
        if last:
            return condition(UP_TO_DATE, False, "Waiting", f"the last one was restarted; {last}")
        return condition(UP_TO_DATE, True, "UpToDate", "every instance runs as specified")
    reasons = dict.fromkeys(due.reason for due in rollout.due)
    pods = {why: ", ".join(due.pod.name for due in rollout.due if due.reason == why) for why in reasons}
    told = "; ".join(f"{names} ({why})" for why, names in pods.items())
    if rollout.waits:
        return condition(UP_TO_DATE, False, "Waiting", f"{rollout.waits}; to be restarted: {told}")
    return condition(UP_TO_DATE, False, "RollingOut", f"to be restarted, one by one: {told}")


def announce_rollout(facts: Facts) -> Iterator[Action]:
    """Announce that a rollout has begun, or that it is through."""
    now = rollout_condition(facts)
    if _before(facts) == now["status"]:
        return
    done = now["status"] == "True"
    yield Announce(reason="RolloutCompleted" if done else "RolloutStarted", message=now["message"])


def due_pods(facts: Facts) -> frozenset[str]:
    """Give the names of the pods that are due: whoever is promoted instead of one of them is restarted once less."""
    return frozenset(due.pod.name for due in plan_rollout(facts).due)


def _next(facts: Facts) -> Due | None:
    """Give whom to restart now; nobody before the status says that a rollout is under way."""
    rollout = plan_rollout(facts)
    return rollout.due[0] if rollout.due and not rollout.waits and _before(facts) == "False" else None


def _before(facts: Facts) -> str:
    """Give the status of the condition as it was written last."""
    return str(facts.cluster.status.condition(UP_TO_DATE).get("status", "True"))


def _obstacle(facts: Facts) -> str:
    """Say what must come first; empty if the cluster is whole."""
    heard = heard_members(facts)
    writer = facts.writer
    if facts.cluster.deleting:
        return "the cluster is being deleted"
    if not facts.cluster.spec.image:
        return f"waits for an engine image for {facts.cluster.spec.engine_version}"
    if writer is None or not _serves(writer):
        return "waits for a writer"
    if heard < WRITE_QUORUM:
        return f"waits for {WRITE_QUORUM} storage nodes to answer, {heard} do"
    return _unrest(facts)


def _unrest(facts: Facts) -> str:
    """Say which instance is not at rest and ready."""
    if ending := next((p for p in facts.instance_pods if p.terminating), None):
        return f"waits for {ending.name} to end"
    for instance in staffed_instances(facts):
        own = [p for p in facts.instance_pods if p.instance == instance.name]
        if instance.deleting or not any(_serves(p) for p in own):
            return f"waits for {_describe(instance.name, own)}"
    return ""


def _describe(instance: str, own: list[Pod]) -> str:
    """Name the pod of an instance that is not ready, and what is known of it."""
    newest = max(own, key=lambda p: p.created, default=None)
    if newest is None:
        return f"DBInstance {instance} to have a pod"
    status = newest.instance_status
    known = status.message or status.role.value if status else "no node takes it" if newest.unschedulable else ""
    return f"{newest.name} to become ready ({known or newest.phase})"


def _serves(pod: Pod) -> bool:
    status = pod.instance_status
    return status is not None and status.ready and status.role in (Role.READER, Role.WRITER)


def _would_differ(facts: Facts, pod: Pod) -> bool:
    """Whether a pod made now would run another image, or was made by an operator that gave no settings."""
    containers = section(facts.live("Pod", pod.name) or {}, "spec").get("containers") or ()
    return not any(_given(c) and c["image"] == facts.cluster.spec.image for c in containers)


def _given(container: Manifest) -> bool:
    return any(variable["name"] == ENV_SETTINGS for variable in container.get("env") or ())


def _delete(due: Due, reason: str, what: str) -> Iterator[Action]:
    yield Delete(kind="Pod", name=due.pod.name, uid=due.pod.uid)
    yield Announce(reason=reason, message=f"{what}: {due.reason}")  # not before: what is denied is not announced
