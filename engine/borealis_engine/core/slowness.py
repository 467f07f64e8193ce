"""How far each member is behind its owner and for how long: gray failures are seen here, before anything is dead.

Computed when somebody asks, from what the reign keeps anyway (core.peer): an ack pays nothing for it. What is told
moves in steps, so that a status which shows it changes seldom.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.journal import NOWHERE
from borealis_engine.core.peer import Peer, Stage

SLOW_S: Final = 1.0  # seconds without an answer from which a member is called slow
STEPS_S: Final = (1, 2, 5, 10, 20, 30, 60)  # seconds that are told; above, whole minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one member does in the reign."""

    name: str
    unanswered: float  # seconds since the oldest message was sent that it has not answered; 0: it has answered all
    behind: int | None  # bytes of log that it has not acknowledged; None before it took part in the reign


def judge(name: str, peer: Peer, *, end: Lsn, since: float, now: float) -> Standing:
    """Judge one member of a reign that began at `since` and whose log ends at `end`."""
    return Standing(
        name=name,
        unanswered=max(0.0, now - _oldest(peer, since, now)),
        behind=end - peer.acked if peer.acked != NOWHERE else None,
    )


def slow(standings: Iterable[Standing]) -> dict[str, int]:
    """Give the members that are slow, by name, with the seconds that are told of each."""
    return {each.name: step(each.unanswered) for each in standings if each.unanswered >= SLOW_S}


def step(seconds: float) -> int:
    """Round seconds (of at least SLOW_S) down to what is told."""
    minutes = int(seconds // 60)
    return 60 * minutes if minutes else STEPS_S[bisect_right(STEPS_S, seconds) - 1]


def _oldest(peer: Peer, since: float, now: float) -> float:
    """When the oldest message was sent that it owes an answer to; who is not in step owes one since it was heard."""
    if peer.beats:
        return peer.beats[0][1]
    return now if peer.connected and peer.stage is Stage.STREAMING else max(peer.heard, since)
