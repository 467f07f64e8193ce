"""Room on the storage nodes: told early, and writes end before a disk does.

A member that runs full leaves the quorum for good, since this release drops no log. So the volume becomes read-only
while four members can still take what is under way; reading, failover and deletion of the cluster go on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.status import StorageState
from borealis_engine.contract.volume import WRITE_QUORUM

from borealis_operator.api.fields import section
from borealis_operator.api.quantities import parse_bytes
from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.facts import Facts, Pod

NEARLY_FULL: Final = 0.85
NEARLY_FULL_BACK: Final = 0.83
FULL: Final = 0.95
FULL_BACK: Final = 0.93
ACKS: Final = (StorageState.EMPTY, StorageState.CATCHING_UP, StorageState.CURRENT)
REMEDY: Final = (
    "enlarge the claims if their StorageClass allows it (kubectl patch pvc NAME), since this release never drops log"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How full one member is, as a share of what it may fill, and whether it takes part in commits."""

    name: str
    share: float
    acks: bool


def measure(facts: Facts) -> tuple[Room, ...]:
    """Give the members that tell how full they are, by name; the limit is claim or disk, whichever ends first."""
    return tuple(sorted(_rooms(facts), key=lambda room: room.name))


def volume_is_full(facts: Facts) -> bool:
    """Whether the volume must not be written to: fewer than four members have room.

    Once so, it stays so until members are well below the limit again. An operator that hears too few members to know,
    or has not listened to all for long enough to tell who is silent, leaves things as they are.
    """
    was = _before(facts) == "Full"
    limit = FULL_BACK if was else FULL
    told = measure(facts)
    full = sum(1 for room in told if room.share >= limit)
    roomy = sum(1 for room in told if room.share < limit and room.acks)
    unheard = sum(1 for pod in facts.member_pods if pod.phase == "Running" and pod.ip and pod.agent.unheard)
    unknown = full + roomy < WRITE_QUORUM or roomy < WRITE_QUORUM <= roomy + unheard
    return was if unknown else roomy < WRITE_QUORUM


def space_condition(facts: Facts) -> Condition:
    """Say whether the storage nodes have room, which do not, and what to do."""
    told = measure(facts)
    if volume_is_full(facts):
        message = (
            f"fewer than {WRITE_QUORUM} storage nodes have room, so the database is read-only: "
            f"{_names(told, FULL_BACK)}; {REMEDY}; it can be written again below {FULL_BACK:.0%}"
        )
        return condition("StorageSpace", False, "Full", message)
    if (writer := facts.writer) and (told_by := writer.instance_status) and told_by.full:
        message = f"{writer.name} has made the database read-only in time: {told_by.full}; {REMEDY}"
        return condition("StorageSpace", False, "Full", message)
    limit = NEARLY_FULL if _before(facts) in ("", "Enough") else NEARLY_FULL_BACK
    if any(room.share >= limit for room in told):
        message = f"storage nodes are nearly full: {_names(told, limit)}; {REMEDY}; it becomes read-only at {FULL:.0%}"
        return condition("StorageSpace", False, "NearlyFull", message)
    return condition("StorageSpace", True, "Enough", f"every storage node is less than {NEARLY_FULL:.0%} full")


def storage_used(facts: Facts) -> str:
    """Give how full the fullest storage node is, in whole percent; empty if none tells."""
    shares = [room.share for room in measure(facts)]
    return f"{max(shares):.0%}" if shares else ""


def _rooms(facts: Facts) -> Iterator[Room]:
    for pod in facts.member_pods:
        said = pod.storage_status
        if said is None or said.bytes_used + said.bytes_free <= 0:
            continue
        limit = min(said.bytes_used + said.bytes_free, _claimed(facts, pod) or said.bytes_used + said.bytes_free)
        yield Room(name=pod.name, share=said.bytes_used / limit, acks=said.state in ACKS)


def _claimed(facts: Facts, pod: Pod) -> int:
    """Give the size of a storage node's claim in bytes: what it has, else what was asked for; 0 if unknown."""
    claim = facts.live("PersistentVolumeClaim", pod.name) or {}
    has, asked = section(claim, "status", "capacity"), section(claim, "spec", "resources", "requests")
    try:
        return parse_bytes(str(has.get("storage") or asked.get("storage") or facts.cluster.spec.storage.size))
    except ValueError:
        return 0


def _names(told: tuple[Room, ...], limit: float) -> str:
    return ", ".join(f"{room.name} ({room.share:.0%})" for room in told if room.share >= limit)


def _before(facts: Facts) -> str:
    """Give the reason that the condition bore last; empty if there was none."""
    return str(facts.cluster.status.condition("StorageSpace").get("reason", ""))
