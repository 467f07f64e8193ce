"""How far each member is behind its owner and for how long: gray failures are seen here, before anything is dead.

A member is slow that owes an answer for long, or answers late again and again while the others do not. Lateness is the
age of the oldest message that is not answered, looked at ten times a second and averaged over some seconds in step: an
ack pays nothing for it. What is told moves in steps, so that a status which shows it changes seldom.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Lsn, MemberId
from borealis_engine.core.journal import NOWHERE
from borealis_engine.core.peer import Peer, Stage

SLOW_S: Final = 1.0  # seconds without an answer from which a member is called slow
LATE_S: Final = 0.05  # mean lateness from which it is called slow, if it is also
TIMES: Final = 10  # so many times as late as the third best: what is slow for all makes nobody slow
THIRD: Final = 2
MEAN_S: Final = 10.0  # seconds over which lateness is averaged
MOST_S: Final = 0.2  # what a look counts at most, where most are in time: who was frozen once is soon forgiven
STEPS_S: Final = (0, 1, 2, 5, 10, 20, 30, 60)  # seconds that are told; above, whole minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one member does in the reign."""

    name: str
    unanswered: float  # seconds since the oldest message was sent that it has not answered; 0: it has answered all
    behind: int | None  # bytes of log that it has not acknowledged; None before it took part in the reign
    slow: float | None = None  # for how many seconds it has been slow; None: it is not


class Lateness:
    """How late the members of a reign that began at `since` answer."""

    def __init__(self, since: float) -> None:
        self._since, self._looked = since, since
        self._means: dict[MemberId, float] = {}
        self._third = 0.0
        self._slow_since: dict[MemberId, float] = {}

    def look(self, peers: Sequence[Peer], now: float) -> None:
        """Look at how long each one owes an answer; call it regularly. `peers` are the members that there are."""
        weight = 1 - math.exp(-max(0.0, now - self._looked) / MEAN_S)
        most = max(MOST_S, 2 * TIMES * self._third)
        self._looked = now
        means = {peer.id: self._means.get(peer.id, 0.0) for peer in peers}
        for peer in peers:
            if peer.connected and peer.stage is Stage.STREAMING:
                means[peer.id] += weight * (min(self._unanswered(peer, now), most) - means[peer.id])
        self._means = means
        self._third = sorted(means.values())[THIRD]
        late = max(LATE_S, TIMES * self._third)
        slow = [peer.id for peer in peers if means[peer.id] >= late]
        self._slow_since = {id: self._slow_since.get(id, now) for id in slow}

    def judge(self, name: str, peer: Peer, *, end: Lsn, now: float) -> Standing:
        """Judge one member of the reign, whose log ends at `end`."""
        unanswered = self._unanswered(peer, now)
        spells = [unanswered] if unanswered >= SLOW_S else []
        if peer.id in self._slow_since:
            spells.append(now - self._slow_since[peer.id])
        return Standing(
            name=name,
            unanswered=unanswered,
            behind=end - peer.acked if peer.acked != NOWHERE else None,
            slow=max(spells, default=None),
        )

    def _unanswered(self, peer: Peer, now: float) -> float:
        """Seconds since the oldest message was sent that it owes an answer to; not in step, it owes one since heard."""
        if peer.beats:
            return max(0.0, now - peer.beats[0][1])
        in_step = peer.connected and peer.stage is Stage.STREAMING
        return 0.0 if in_step else max(0.0, now - max(peer.heard, self._since))


def slow(standings: Iterable[Standing]) -> dict[str, int]:
    """Give the members that are slow, by name, with the seconds that are told of each."""
    return {each.name: step(each.slow) for each in standings if each.slow is not None}


def step(seconds: float) -> int:
    """Round seconds down to what is told."""
    minutes = int(seconds // 60)
    return 60 * minutes if minutes else STEPS_S[bisect_right(STEPS_S, seconds) - 1]
