"""Deletion of a cluster: instances first, then storage, then the rest by owner references.

The DBCluster itself goes only when the last pod and claim are gone, so that "deleted" means deleted. What is waited for
longer than usual is told: a pod ends only if its Kubernetes node says so.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from borealis_operator.api.fields import section, timestamp
from borealis_operator.api.names import INSTANCE, LABEL_COMPONENT
from borealis_operator.plan.actions import Delete
from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.facts import Manifest

PATIENCE_S: Final = 5.0  # since the deletion, for a pod on a node that is not ready
LATE_S: Final = 10.0  # since the end of its grace period, for any other pod or claim


def plan_removal(objects: Mapping[tuple[str, str], Manifest], instances: Sequence[Manifest]) -> list[Delete] | None:
    """Give what to delete now, nothing while waiting; None when all pods and claims are gone."""
    pods = [o for (kind, _), o in objects.items() if kind == "Pod"]
    claims = [o for (kind, _), o in objects.items() if kind == "PersistentVolumeClaim"]
    if not pods and not claims and not instances:
        return None
    due = _deletions("DBInstance", instances)
    running = [p for p in pods if (p["metadata"].get("labels") or {}).get(LABEL_COMPONENT) == INSTANCE]
    if running:
        return due + _deletions("Pod", running)
    return due + _deletions("Pod", pods) + _deletions("PersistentVolumeClaim", claims)


def removal_condition(
    objects: Mapping[tuple[str, str], Manifest], *, ready_nodes: Collection[str], now: float
) -> Condition | None:
    """Say what the removal waits for, in condition `Reconciled`; None while nothing takes longer than usual."""
    late = sorted(_late_pods(objects, ready_nodes, now)) or sorted(_late_claims(objects, now))
    if not late:
        return None
    reason, told = late[0]
    also = f" (and {len(late) - 1} more)" if len(late) > 1 else ""
    return condition("Reconciled", False, reason, told + also)


def _late_pods(
    objects: Mapping[tuple[str, str], Manifest], ready_nodes: Collection[str], now: float
) -> Iterator[tuple[str, str]]:
    for (kind, name), pod in objects.items():
        end = timestamp(pod["metadata"].get("deletionTimestamp"))
        if kind != "Pod" or not end:
            continue
        node, space = section(pod, "spec").get("nodeName") or "", pod["metadata"].get("namespace", "")
        asked = end - float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        if node and node not in ready_nodes and now - asked >= PATIENCE_S:
            yield (
                "WaitingForNode",
                f"the deletion waits for pod {name}: its Kubernetes node {node} is not ready and cannot say that it "
                f"ended; bring the node back, or once it is switched off for good: kubectl delete node {node}",
            )
        elif now - end >= LATE_S:
            look = f"kubectl -n {space} describe pod {name}"
            yield "WaitingForPod", f"the deletion waits for pod {name} on node {node or '(none)'}; read why: {look}"


def _late_claims(objects: Mapping[tuple[str, str], Manifest], now: float) -> Iterator[tuple[str, str]]:
    for (kind, name), claim in objects.items():
        end = timestamp(claim["metadata"].get("deletionTimestamp"))
        if kind == "PersistentVolumeClaim" and end and now - end >= LATE_S:
            look = f"kubectl -n {claim['metadata'].get('namespace', '')} describe pvc {name}"
            yield "WaitingForClaim", f"the deletion waits for claim {name}; read why: {look}"


def _deletions(kind: str, objects: Sequence[Manifest]) -> list[Delete]:
    """Give a deletion for each object that is not on its way out already."""
    return [
        Delete(kind=kind, name=o["metadata"]["name"], uid=o["metadata"]["uid"])
        for o in objects
        if not o["metadata"].get("deletionTimestamp")
    ]
