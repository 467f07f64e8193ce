"""Which storage node gives its place to a new one, and when; and whether one that joins is taken in or given up.

One at a time, and only while four others are current: a replacement never takes a quorum away. What may come back is
waited for, what cannot is replaced at once. One that stays slow is replaced too, unless the cause is not its own: with
both of a zone it is the zone's, with three the writer's. Each answer has its reason, which becomes the status.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from borealis_engine.contract.volume import WRITE_QUORUM, MemberId

from borealis_operator.plan.copies import Copy, Fate, shared_cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Make a new storage node that takes the place of this one."""

    copy: Copy
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The new one holds all there is: it takes the place now."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The new one goes, and the old one stays a member."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Leave the membership as it is; an empty reason means that nothing calls for a change."""

    reason: str = ""


Decision: TypeAlias = Begin | Complete | GiveUp | Stay


def is_due(copy: Copy, delay: float) -> bool:
    """Whether a copy has been lost, or been ailing for longer than `delay` seconds."""
    return copy.fate is Fate.LOST or (copy.fate is Fate.AILING and copy.waited >= delay)


def decide_replacement(copies: Sequence[Copy], *, delay: float, roomy: Collection[MemberId]) -> Begin | Stay:
    """Choose the copy to replace, or say why none is; for use while none joins.

    Those that are lost for certain come first, then those that have been waited for longest. `roomy` has the members
    for which a new one can be placed.
    """
    due = sorted((c for c in copies if is_due(c, delay)), key=lambda c: (c.fate is not Fate.LOST, -c.waited))
    if not due:
        return Stay()
    placeable = [c for c in due if c.member.id in roomy]
    if not placeable:
        other = "other " if due[0].slow else ""
        return Stay(reason=f"no {other}Kubernetes node of zone {due[0].member.zone} takes a new one")
    held = [_hindrance(c, copies) for c in placeable]
    for chosen, hindrance in zip(placeable, held, strict=True):
        if not hindrance:
            return Begin(copy=chosen, reason=f"{chosen.member.name} {chosen.problem}")
    return Stay(reason=held[0])


def _hindrance(chosen: Copy, copies: Sequence[Copy]) -> str:
    """Say why a copy that is due must not be replaced now; empty if it may be."""
    others = [c for c in copies if c is not chosen and c.good]
    if len(others) < WRITE_QUORUM:
        return f"it cannot be replaced while fewer than {WRITE_QUORUM} others are current ({len(others)} are)"
    if chosen.slow and len(others) < len(copies) - 1:
        return "it is replaced once all others are current"
    return shared_cause(chosen, copies)


def decide_joining(old: Copy, new: Copy, *, generation: int, delay: float, far: bool) -> Complete | GiveUp | Stay:
    """Say how a replacement goes on. `far`: the new one holds so much that going on costs less than going back."""
    name = new.member.name
    if new.good and new.fate is Fate.GOOD and new.status and new.status.generation >= generation:
        return Complete(reason=f"{name} is current")
    if new.fate is Fate.LOST or (new.fate is Fate.AILING and new.failed):
        return GiveUp(reason=f"{name} {new.problem}")
    if old.good and old.fate is Fate.GOOD and not old.waited and not far:
        return GiveUp(reason=f"{old.member.name} is current again")
    if new.fate is Fate.AILING and (new.node or old.good) and new.waited >= delay:
        return GiveUp(reason=f"{name} {new.problem}")
    return Stay(reason=f"{name} {new.problem or 'is current, and has yet to learn of its place'}")
