"""Why pods of a cluster do not run: told in the words of scheduler and kubelet, with the remedy that users lack.

It reads the live Pods and claims themselves, since only their statuses know. A young pod is no news: nearly all pods
wait for a moment.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from borealis_operator.api.fields import section, timestamp
from borealis_operator.api.names import ANNOTATION_NODE
from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.facts import Facts, Manifest

YOUNG_S: Final = 10.0
STARTING_S: Final = 120.0  # a container that is being made for longer lacks something
CRASHES: Final = 3  # restarts after which a container that the kubelet holds back is no accident
SHORT_BACK_OFF: Final = "back-off 10s "  # the kubelet's first one: also whoever left a role waits for it
PULL: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
USUAL: Final = ("ContainerCreating", "PodInitializing", "")
OF_CLAIMS: Final = re.compile(r"persistent ?volume|storage ?class", re.IGNORECASE)  # what the scheduler says of them
REASONS: Final = ("ImagePullFailed", "CrashLooping", "NotStarting", "ClaimPending", "Unschedulable")  # worst first


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailment:
    """Why one pod does not run; `cause` is what several pods may have in common."""

    pod: str
    reason: str
    cause: str
    remedy: str


def pods_condition(facts: Facts) -> Condition:
    """Say whether all pods run, and if not, what keeps them from it.

    What was said before holds on while a pod that may prove it wrong is young or has not become ready again.
    """
    pods = [p for (kind, _), p in facts.objects.items() if kind == "Pod" and not p["metadata"].get("deletionTimestamp")]
    ailments = [found for p in pods if (found := find_ailment(p, facts))]
    if ailments:
        return _tell(ailments)
    before = facts.cluster.status.condition("PodsRunning")
    if before.get("status") == "False" and any(_may_relapse(p, facts.now) for p in pods):
        return condition("PodsRunning", False, before["reason"], before["message"])
    return condition("PodsRunning", True, "AllRunning", "no pod of the cluster is held up")


def find_ailment(pod: Manifest, facts: Facts) -> Ailment | None:
    """Say why a pod does not run; None if it runs, or is too young to tell."""
    if _age(pod, facts.now) < YOUNG_S:
        return None
    held = _scheduling(pod, facts) if not section(pod, "spec").get("nodeName") else None
    return held or next(_containers(pod, facts), None)


def _scheduling(pod: Manifest, facts: Facts) -> Ailment | None:
    """Say what the scheduler waits for: a claim, or room."""
    conditions = section(pod, "status").get("conditions") or ()
    told: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "PodScheduled"), {})
    words = str(told.get("message") or "") if told.get("status") == "False" else ""
    claims = [c for name in _claims(pod) if (c := facts.live("PersistentVolumeClaim", name))]
    waiting = next((c for c in claims if section(c, "status").get("phase") not in ("Bound", "Lost")), None)
    if waiting and _holds_up(waiting, words):
        return _claim_ailment(pod, waiting, words)
    if told.get("reason") != "Unschedulable":
        return None
    remedy = (
        "add a Kubernetes node to its zone, make room there, remove taints, or ask for less by dbInstanceClass or "
        "spec.instance.resources"
    )
    cause = f"no Kubernetes node takes it ({words or 'the scheduler gives no reason'})"
    return Ailment(pod=_name(pod), reason="Unschedulable", cause=cause, remedy=remedy)


def _holds_up(claim: Manifest, words: str) -> bool:
    """Whether the claim itself is what is waited for, and not the pod's place (many classes bind only after that)."""
    chosen = ANNOTATION_NODE in (claim["metadata"].get("annotations") or {})
    return chosen or not _class(claim) or bool(OF_CLAIMS.search(words))


def _claim_ailment(pod: Manifest, claim: Manifest, words: str) -> Ailment:
    name, given = claim["metadata"]["name"], _class(claim)
    namespace = claim["metadata"].get("namespace", "")
    if given:
        look = f"kubectl -n {namespace} describe pvc {name}"
        cause = f"claim {name} of StorageClass {given!r} is not bound" + (f" ({words})" if words else "")
        remedy = (
            f"see that the class exists and that its provisioner works: kubectl get storageclass; {look}; or make the "
            "DBCluster anew with another spec.storage.className"
        )
    else:
        cause = f"claim {name} is not bound: spec.storage.className is empty and there is no default StorageClass"
        remedy = (
            "mark a class as the default one (annotation storageclass.kubernetes.io/is-default-class=true), or make "
            "the DBCluster anew with spec.storage.className"
        )
    return Ailment(pod=_name(pod), reason="ClaimPending", cause=cause, remedy=remedy)


def _containers(pod: Manifest, facts: Facts) -> Iterator[Ailment]:
    name, namespace = _name(pod), pod["metadata"].get("namespace", "")
    for told in section(pod, "status").get("containerStatuses") or ():
        waiting = section(told, "state", "waiting")
        reason, words = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if reason in PULL:
            cause = f"image {_image(pod, told)!r} cannot be pulled ({reason}: {words or 'no details'})"
            remedy = "correct engine.images of the chart, and give the nodes access to that registry"
            yield Ailment(pod=name, reason="ImagePullFailed", cause=cause, remedy=remedy)
        elif _loops(told, reason, words):
            code = section(told, "lastState", "terminated").get("exitCode", "unknown")
            cause = f"its container has ended {told['restartCount']} times, last with exit code {code}"
            remedy = f"read why: kubectl -n {namespace} logs {name} --previous"
            yield Ailment(pod=name, reason="CrashLooping", cause=cause, remedy=remedy)
        elif (reason not in (*USUAL, "CrashLoopBackOff")) or _stuck(pod, told, reason, facts.now):
            cause = f"its container does not start ({reason or 'waiting'}{': ' if words else ''}{words})"
            remedy = f"read why: kubectl -n {namespace} describe pod {name}"
            yield Ailment(pod=name, reason="NotStarting", cause=cause, remedy=remedy)


def _loops(told: Mapping[str, Any], reason: str, words: str) -> bool:
    many = int(told.get("restartCount") or 0) >= CRASHES
    return reason == "CrashLoopBackOff" and many and not words.startswith(SHORT_BACK_OFF)


def _stuck(pod: Manifest, told: Mapping[str, Any], reason: str, now: float) -> bool:
    fresh = not told.get("restartCount") and reason in USUAL and "waiting" in section(told, "state")
    return fresh and _age(pod, now) > STARTING_S


def _may_relapse(pod: Manifest, now: float) -> bool:
    """Whether the pod may yet turn out to be held up, although nothing can be seen of it now."""
    told = section(pod, "status").get("containerStatuses") or ()
    if any(c.get("ready") for c in told):
        return False
    return _age(pod, now) < YOUNG_S or any(int(c.get("restartCount") or 0) >= CRASHES for c in told)


def _tell(ailments: Sequence[Ailment]) -> Condition:
    """Give the worst ailment in full, and the names of the other pods."""
    worst = min(ailments, key=lambda a: (REASONS.index(a.reason), a.pod))
    others = sorted(a.pod for a in ailments if a.pod != worst.pod)
    also = f" (held up too: {', '.join(others)})" if others else ""
    return condition("PodsRunning", False, worst.reason, f"{worst.pod}: {worst.cause}; {worst.remedy}{also}"[:1024])


def _claims(pod: Manifest) -> list[str]:
    found = (v.get("persistentVolumeClaim") for v in section(pod, "spec").get("volumes") or ())
    return [claim["claimName"] for claim in found if claim]


def _class(claim: Manifest) -> str:
    return str(section(claim, "spec").get("storageClassName") or "")


def _image(pod: Manifest, told: Mapping[str, Any]) -> str:
    """Give the image as it was asked for; the kubelet's own field may hold what it resolved it to."""
    named = (c.get("image") for c in section(pod, "spec").get("containers") or () if c.get("name") == told.get("name"))
    return str(next(named, told.get("image", "")))


def _name(pod: Manifest) -> str:
    return str(pod["metadata"]["name"])


def _age(pod: Manifest, now: float) -> float:
    return now - timestamp(pod["metadata"].get("creationTimestamp"))
