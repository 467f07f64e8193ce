"""Who becomes the writer when there is none.

The operator only asks; the storage nodes elect or refuse. So asking too early costs nothing, and asking two at once
is merely slow: a second one is asked only after the first has had its time.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from borealis_engine.contract.status import Role

from borealis_operator.plan.facts import Asked, Pod

PROMOTION_S: Final = 20.0  # a promotion that takes longer is given up in favour of the next candidate
ASKED_S: Final = 3.0  # time for an asked pod to show in its status that it is promoting
VAIN_S: Final = 60.0  # for so long, whoever was asked in vain comes after those who were not


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote:
    """Ask this pod."""

    pod: Pod
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Ask nobody now."""

    reason: str


Decision: TypeAlias = Promote | Hold


def decide_promotion(
    pods: Sequence[Pod], tiers: Mapping[str, int], *, asked: Asked | None, due: Collection[str] = ()
) -> Decision:
    """Choose the successor, or say why there is none yet; for use when no live pod is the writer.

    Lowest promotion tier first, as RDS does; then the one that has replayed most. Whoever was asked last and is a
    reader again could not do it, and lets the others try. `tiers` by DBInstance name; `due` are pods that are to be
    restarted soon, so they come after the others.
    """
    alive = [p for p in pods if p.instance_status and not p.terminating and p.instance in tiers]
    under_way = [p for p in alive if p.plays(Role.PROMOTING)]
    if any(p.agent.role_for <= PROMOTION_S for p in under_way):
        return Hold(reason=f"{under_way[0].name} is being promoted")
    candidates = _candidates(alive)
    if not candidates:
        return Hold(reason="no instance can become the writer yet")
    waiting = next((p for p in candidates if asked and asked.ago < ASKED_S and p.name == asked.pod), None)
    if waiting and asked and asked.ago < 1.0:
        return Hold(reason=f"{waiting.name} was asked just now")
    vain = asked.pod if asked and ASKED_S <= asked.ago < VAIN_S else ""
    chosen = waiting or min(candidates, key=lambda p: (p.name == vain, p.name in due, *_rank(p, tiers)))
    return Promote(pod=chosen, reason=f"promotion tier {tiers[chosen.instance]}, replayed {_replayed(chosen)}")


def _candidates(alive: Sequence[Pod]) -> list[Pod]:
    """Readers; failing those, if nobody is on the way to be one, instances of a volume that has no image yet."""
    readers = [p for p in alive if p.plays(Role.READER)]
    if readers or any(p.plays(Role.ATTACHING) for p in alive):
        return readers
    return [p for p in alive if p.plays(Role.STARTING)]


def _rank(pod: Pod, tiers: Mapping[str, int]) -> tuple[int, int, str]:
    return (tiers[pod.instance], -_replayed(pod), pod.instance)


def _replayed(pod: Pod) -> int:
    status = pod.instance_status
    return status.replay_lsn if status else 0
