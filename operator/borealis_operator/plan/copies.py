"""How each copy of the volume fares: good or not, why, where its disk is, and what time can do about it.

All that is said or done about storage nodes starts from here, so that status, events and replacement never disagree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from borealis_engine.contract.status import DISK_FULL, StorageState, StorageStatus
from borealis_engine.contract.volume import WRITE_QUORUM, Member

from borealis_operator.api.fields import section
from borealis_operator.api.names import ANNOTATION_MEMBER, ANNOTATION_NODE
from borealis_operator.plan.facts import Facts, Manifest, Pod

CLAIM: Final = "PersistentVolumeClaim"
SLOW_BY_THEMSELVES: Final = 1  # others that may be slow at the same time by a fault of their own
PAYBACK: Final = 10
MISSING, SILENT = "missing", "not-responding"


class Fate(Enum):
    """What waiting does for a copy."""

    GOOD = "good"
    OPEN = "open"  # on its way, or not heard yet
    AILING = "ailing"  # may heal by itself: waited for, and replaced if that takes too long
    FULL = "full"  # needs room: another disk of the same size would be full as well
    LOST = "lost"  # nothing brings its disk back


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One storage node of the volume. `problem` goes on from its name, and is empty if there is none.

    One that is `good` may be lost all the same: its claim is being deleted, and its disk ends with its pod. Or it is
    slow: it holds what it should, and the writer hears it late.
    `waited` has the seconds for which it has been ailing while the operator heard enough others.
    """

    member: Member
    state: str
    good: bool
    fate: Fate
    problem: str
    node: str
    waited: float
    status: StorageStatus | None

    @property
    def failed(self) -> bool:
        """Whether it says itself that its disk has failed."""
        return self.state == StorageState.FAILED.value

    @property
    def slow(self) -> bool:
        """Whether it is good but for the time that it takes."""
        return self.good and self.fate is Fate.AILING


def all_copies(facts: Facts) -> tuple[Copy, ...]:
    """Give the six members, as the configuration has them."""
    members = facts.volume.config.members if facts.volume else ()
    return tuple(judge_copy(facts, member) for member in members)


def newcomer(facts: Facts) -> Copy | None:
    """Give the copy that is on its way into the volume, if there is one."""
    joining = facts.volume.config.joining if facts.volume else None
    return judge_copy(facts, joining.member, joins=True) if joining else None


def heard_members(facts: Facts) -> int:
    """Count the members that answer the operator."""
    return sum(1 for pod in facts.member_pods if pod.storage_status)


def good_states(facts: Facts) -> tuple[StorageState, ...]:
    """An empty member lacks nothing until the first writer has written."""
    begun = facts.cluster.status.epoch or facts.writer  # the writer is looked for among all pods
    return (StorageState.CURRENT,) if begun else (StorageState.EMPTY, StorageState.CURRENT)


def judge_copy(facts: Facts, member: Member, *, joins: bool = False) -> Copy:
    """Say how one copy fares; one that `joins` must have the very claim that was made for it."""
    pod = next((p for p in facts.storage_pods if p.name == member.name), None)
    claim, status = facts.live(CLAIM, member.name), pod.storage_status if pod else None
    good = status is not None and status.state in good_states(facts)
    node = disk_node(facts, member, pod, claim)
    fate, problem = _ailment(facts, member, pod, status, node)
    if good:
        fate, problem = (Fate.GOOD, "") if joins else _pace(facts, member)
    sealed = facts.volume is not None and facts.volume.config.sealed
    if sealed and (loss := _loss(member, claim, status, joins=joins)):
        fate, problem = Fate.LOST, loss
    return Copy(
        member=member,
        state=status.state.value if status else SILENT if pod else MISSING,
        good=good,
        fate=fate,
        problem=problem,
        node=node,
        waited=facts.waited.get(_slowness(member.id) if good else member.id, 0.0),
        status=status,
    )


def _loss(member: Member, claim: Manifest | None, status: StorageStatus | None, *, joins: bool) -> str:
    """Say why the disk is lost for certain; empty if it is not."""
    if claim is None:
        return "has lost its claim"
    owner = (claim["metadata"].get("annotations") or {}).get(ANNOTATION_MEMBER, "" if joins else member.id)
    if owner != member.id:
        return "has lost its claim: the one of its name was made for another storage node"
    if claim["metadata"].get("deletionTimestamp"):
        return "loses its disk, for its claim is being deleted"
    if status is None and section(claim, "status").get("phase") == "Lost":
        return "has lost its disk: its claim says Lost"
    return "has an empty disk" if status and status.state is StorageState.DISK_LOST else ""


def _ailment(
    facts: Facts, member: Member, pod: Pod | None, status: StorageStatus | None, node: str
) -> tuple[Fate, str]:
    if status is None:
        if pod and pod.agent.unheard and pod.phase == "Running":
            return Fate.OPEN, "has not been heard yet"
        gone = f": Kubernetes node {node} is gone" if node and node not in {n.name for n in facts.nodes} else ""
        fits = f"fits no node of zone {member.zone}" if pod and pod.unschedulable else "does not answer"
        return Fate.AILING, (fits if pod else "is missing") + gone
    told = f"is {status.state.value}" + (f" ({status.message})" if status.message else "")
    if status.state is not StorageState.FAILED:
        return Fate.OPEN, told
    return (Fate.FULL if DISK_FULL in status.message else Fate.AILING), told


def _pace(facts: Facts, member: Member) -> tuple[Fate, str]:
    """Say of a copy that is good whether the writer hears it in time; while there is none, nothing new is known."""
    told = facts.writer.instance_status if facts.writer else None
    if told is None:
        return (Fate.OPEN if _slowness(member.id) in facts.waited else Fate.GOOD), ""
    seconds = told.slow.get(member.name)
    return (Fate.GOOD, "") if seconds is None else (Fate.AILING, f"is slow (for {seconds} s)")


def shared_cause(copy: Copy, copies: Sequence[Copy]) -> str:
    """Say what makes others slow too, if the copy is not slow by a fault of its own; empty if it is."""
    others = [c for c in copies if c.slow and c.member.id != copy.member.id] if copy.slow else []
    zone = copy.member.zone
    if any(c.member.zone == zone for c in others):
        return f"the other one of zone {zone} is slow too, and a new one would be: look at the zone's network"
    return "more are slow: look at the writer's node and its network" if len(others) > SLOW_BY_THEMSELVES else ""


def disk_node(facts: Facts, member: Member, pod: Pod | None, claim: Manifest | None) -> str:
    """Give the Kubernetes node of a copy: its pod's, else the one for which its disk was made, else the last known."""
    if pod and pod.node:
        return pod.node
    chosen = (claim["metadata"].get("annotations") or {}).get(ANNOTATION_NODE) if claim else ""
    return str(chosen or told_before(facts, member).get("node", ""))


def told_before(facts: Facts, member: Member) -> Mapping[str, Any]:
    """Give what the written status says of a member; empty if nothing."""
    entries = facts.cluster.status.raw.get("storageNodes") or ()
    return next((e for e in entries if e.get("name") == member.name and e.get("id") == member.id), {})


def count_waits(facts: Facts, before: Mapping[str, float], *, elapsed: float) -> dict[str, float]:
    """Give for how many seconds each copy has been waited for, `elapsed` after `before`.

    Time counts only while four other members are heard: an operator that is cut off or starved must not take its own
    absence for the loss of others. A copy that is on its way keeps what was counted; one that is good begins anew.
    Slowness has an account of its own: see `_count_slowness`.
    """
    heard, waits = heard_members(facts), dict[str, float]()
    joins, copies = newcomer(facts), all_copies(facts)
    most = 2 * facts.cluster.spec.storage.replacement_delay_s  # what it takes to be replaced, and no long debt
    for copy in (*copies, *([joins] if joins else [])):
        id, others = copy.member.id, heard - (1 if copy.status and copy != joins else 0)
        ails = copy.fate is Fate.AILING and others >= WRITE_QUORUM and not shared_cause(copy, copies)
        slow = before.get(_slowness(id))
        if copy.good:
            slow = _count_slowness(copy, slow, elapsed, counts=ails)
        else:
            waits[id] = before.get(id, 0.0) + (elapsed if ails else 0.0)
        if slow is not None:
            waits[_slowness(id)] = min(slow, most)
    return waits


def _count_slowness(copy: Copy, slow: float | None, elapsed: float, *, counts: bool) -> float | None:
    """Go on counting for a copy that is good: what is in time pays PAYBACK seconds back for each.

    So a writer that has yet to notice forgives nobody, and what comes again and again adds up.
    """
    if copy.fate is Fate.AILING:
        return (slow or 0.0) + (elapsed if counts else 0.0)
    if copy.fate is Fate.GOOD:
        return slow - PAYBACK * elapsed if slow and slow > PAYBACK * elapsed else None
    return slow


def _slowness(id: str) -> str:
    return f"{id} is slow"


def read_waits(status: Mapping[str, Any]) -> dict[str, float]:
    """Give what the written status says of earlier waiting, for an operator that has just started."""
    return {
        _account(entry): float(entry["waitedSeconds"])
        for entry in status.get("storageNodes") or ()
        if entry.get("id") and entry.get("waitedSeconds")
    }


def _account(entry: Mapping[str, Any]) -> str:
    """Give whose account, and which, a written entry tells of."""
    good = entry.get("state") in (StorageState.CURRENT.value, StorageState.EMPTY.value)
    return _slowness(str(entry["id"])) if good else str(entry["id"])
