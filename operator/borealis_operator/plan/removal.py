"""Deletion of a cluster: instances first, then storage, then the rest by owner references.

The DBCluster itself goes only when the last pod and claim are gone, so that "deleted" means deleted.
"""

from collections.abc import Mapping, Sequence

from borealis_operator.api.names import INSTANCE, LABEL_COMPONENT
from borealis_operator.plan.actions import Delete
from borealis_operator.plan.facts import Manifest


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


def _deletions(kind: str, objects: Sequence[Manifest]) -> list[Delete]:
    """Give a deletion for each object that is not on its way out already."""
    return [
        Delete(kind=kind, name=o["metadata"]["name"], uid=o["metadata"]["uid"])
        for o in objects
        if not o["metadata"].get("deletionTimestamp")
    ]
