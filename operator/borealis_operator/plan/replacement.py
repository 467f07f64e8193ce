"""Which instance pods are worth keeping: one per DBInstance, and none that is gone for longer than a few seconds.

An instance owns nothing durable and a lost one is fenced by the volume, so a replacement may be made while the old
pod still hangs on a silent node: it has another name.

The invariant: of pods that are only silent, one at a time is given up, and none while another one is on its way to be
ready. Several that fall silent together may share a cause that their successors would die of as well, and they may
come back; those of a zone that is gone are replaced in turn.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.status import InstanceStatus, Role

from borealis_operator.api.instance import Instance
from borealis_operator.plan.facts import Node, Pod

SILENT_S: Final = 5.0  # no answer at all: the node is gone or frozen
REFUSED_S: Final = 20.0  # the host answers, its agent is starting again
UNHEARD_S: Final = 45.0  # runs, but has never been heard by this operator
UNPLACED_S: Final = 60.0  # cannot be scheduled where it was put
COMING_S: Final = 300.0  # a new pod that is not ready by then is not waited for any more
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
    pods: Sequence[Pod], instances: Sequence[Instance], nodes: Sequence[Node], *, now: float, cut_off: bool,
    vacant: bool = False,
) -> Replacement:  # fmt: skip
    """Give what to delete and what to make anew among the instance pods.

    `cut_off`: the operator hears so few storage nodes that silence says more about itself than about the silent.
    `vacant`: a pod that is due has not been made yet.
    """
    wanted = [i for i in instances if not i.deleting]
    dead_nodes = {n.name for n in nodes if not n.ready}
    losses, bare = [], []
    for pod in pods:
        if pod.instance not in {i.name for i in wanted} and not pod.terminating:
            losses.append(Loss(pod=pod, reason="its DBInstance is gone", replaced=False))
    spared = _spare(pods, dead_nodes, now=now, vacant=vacant)
    for instance in wanted:
        own = [p for p in pods if p.instance == instance.name and not p.terminating]
        judged = {p.name: judge(p, dead_nodes, now=now, cut_off=cut_off) for p in own if p.name not in spared}
        lost = {name: reason for name, reason in judged.items() if reason}
        good = sorted((p for p in own if p.name not in lost), key=_worth)
        losses += [Loss(pod=p, reason=lost[p.name]) for p in own if p.name in lost]
        losses += [Loss(pod=p, reason="a better pod of the same DBInstance exists") for p in good[:-1]]
        bare += [] if good else [instance]
    avoid = {p.node for p in pods if p.node and _unreachable(p, dead_nodes)}
    full = frozenset(loss.pod.zone for loss in losses if loss.pod.unschedulable and loss.replaced)
    return Replacement(losses=tuple(losses), bare=tuple(bare), avoid=frozenset(avoid), full=full)


def judge(pod: Pod, dead_nodes: set[str], *, now: float, cut_off: bool) -> str:
    """Say why an instance pod must be replaced; empty if it need not be."""
    if reason := _certain(pod, dead_nodes, now=now):
        return reason
    if _is_silent(pod) and (pod.agent.refused or not cut_off):
        return f"it has not answered for {_patience(pod):.0f} s"
    return ""


def _certain(pod: Pod, dead_nodes: set[str], *, now: float) -> str:
    """Say why it must be replaced, on Kubernetes' own word."""
    if pod.over:
        return f"it is {pod.phase}"
    if pod.unschedulable and now - pod.created > UNPLACED_S:
        return f"no node of zone {pod.zone} has taken it for {UNPLACED_S:.0f} s"
    if pod.agent.suspect and pod.node in dead_nodes:
        return f"node {pod.node} is not ready and the pod does not answer"
    return ""


def _patience(pod: Pod) -> float:
    return UNHEARD_S if pod.agent.status is None else REFUSED_S if pod.agent.refused else SILENT_S


def _is_silent(pod: Pod) -> bool:
    return pod.agent.suspect and pod.agent.silent_for > _patience(pod)


def _spare(pods: Sequence[Pod], dead_nodes: set[str], *, now: float, vacant: bool) -> set[str]:
    """Name the silent pods that are kept for now: all but the one that is silent for longest, or all."""
    held = [p for p in pods if not p.terminating and not _certain(p, dead_nodes, now=now)]
    silent = sorted((p for p in held if _is_silent(p)), key=lambda p: (-p.agent.silent_for, p.name))
    turn = silent[:1] if not vacant and not any(_is_coming(p, now) for p in held if p not in silent[:1]) else []
    return {p.name for p in silent if p not in turn}


def _is_coming(pod: Pod, now: float) -> bool:
    """Whether a pod was made lately that has not become ready by its last word, also if it is silent."""
    word = pod.agent.status
    ready = isinstance(word, InstanceStatus) and word.ready
    return not ready and now - pod.created < COMING_S


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
