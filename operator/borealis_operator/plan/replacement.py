"""Which instance pods are worth keeping: one per DBInstance, and none that is gone for longer than a few seconds.

An instance owns nothing durable and a lost one is fenced by the volume, so a replacement may be made while the old
pod still hangs on a silent node: it has another name.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.status import Role

from borealis_operator.api.instance import Instance
from borealis_operator.plan.facts import Node, Pod

SILENT_S: Final = 5.0  # no answer at all: the node is gone or frozen
REFUSED_S: Final = 20.0  # the host answers, its agent is starting again
UNHEARD_S: Final = 45.0  # runs, but has never been heard by this operator
UNPLACED_S: Final = 60.0  # cannot be scheduled where it was put
ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A pod that is to be deleted, and why."""

    pod: Pod
    reason: str
    replaced: bool = True  # False: nothing comes in its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Pods to delete, DBInstances that need a new pod, and Kubernetes nodes that the new ones must avoid."""

    losses: tuple[Loss, ...]
    bare: tuple[Instance, ...]
    avoid: frozenset[str]
    full: frozenset[str]  # zones that took no pod when asked


def plan_replacement(
    pods: Sequence[Pod], instances: Sequence[Instance], nodes: Sequence[Node], *, now: float, cut_off: bool
) -> Replacement:
    """Give what to delete and what to make anew among the instance pods.

    `cut_off`: the operator hears so few storage nodes that silence says more about itself than about the silent.
    """
    wanted = [i for i in instances if not i.deleting]
    dead_nodes = {n.name for n in nodes if not n.ready}
    losses, bare = [], []
    for pod in pods:
        if pod.instance not in {i.name for i in wanted} and not pod.terminating:
            losses.append(Loss(pod=pod, reason="its DBInstance is gone", replaced=False))
    for instance in wanted:
        own = [p for p in pods if p.instance == instance.name and not p.terminating]
        lost = {p.name: reason for p in own if (reason := judge(p, dead_nodes, now=now, cut_off=cut_off))}
        good = sorted((p for p in own if p.name not in lost), key=_worth)
        losses += [Loss(pod=p, reason=lost[p.name]) for p in own if p.name in lost]
        losses += [Loss(pod=p, reason="a better pod of the same DBInstance exists") for p in good[:-1]]
        bare += [] if good else [instance]
    avoid = {p.node for p in pods if p.node and _unreachable(p, dead_nodes)}
    full = frozenset(loss.pod.zone for loss in losses if loss.pod.unschedulable and loss.replaced)
    return Replacement(losses=tuple(losses), bare=tuple(bare), avoid=frozenset(avoid), full=full)


def judge(pod: Pod, dead_nodes: set[str], *, now: float, cut_off: bool) -> str:
    """Say why an instance pod must be replaced; empty if it need not be."""
    if pod.over:
        return f"it is {pod.phase}"
    if pod.unschedulable and now - pod.created > UNPLACED_S:
        return f"no node of zone {pod.zone} has taken it for {UNPLACED_S:.0f} s"
    agent = pod.agent
    if agent.suspect and pod.node in dead_nodes:
        return f"node {pod.node} is not ready and the pod does not answer"
    patience = UNHEARD_S if agent.status is None else REFUSED_S if agent.refused else SILENT_S
    if agent.suspect and agent.silent_for > patience and (agent.refused or not cut_off):
        return f"it has not answered for {patience:.0f} s"
    return ""


def pod_suffix(entropy: str, instance: str) -> str:
    """Give five characters that differ from pass to pass and from instance to instance."""
    digest = hashlib.sha256(f"{entropy}/{instance}".encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:5])


def _worth(pod: Pod) -> tuple[bool, bool, int, float]:
    status = pod.instance_status
    ready = status is not None and status.ready
    return (pod.plays(Role.WRITER), ready, status.epoch if status else 0, pod.created)


def _unreachable(pod: Pod, dead_nodes: set[str]) -> bool:
    silent = pod.agent.suspect and not pod.agent.refused and pod.agent.silent_for > SILENT_S
    return pod.node in dead_nodes or (silent and pod.phase == "Running")
