"""Shares a missing range of log out among the members that may hold it, and puts what comes together in order.

Any member may be asked: a read is bound to the reign's epoch, so whoever answers holds the same bytes, and who holds
less answers less. Invariants: bytes come out in order and each once; what is asked for or waits for bytes before it
lies within `ahead` bytes of what came out, so memory is bounded; what a donor did not give is asked of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Lsn, MemberId, VolumeConfig

PIECE: Final = 4 << 20  # bytes asked of one donor at once: it waits for the next question after each
AHEAD: Final = 16 << 20  # bytes asked for and not given to the node yet
LANES: Final = 3  # donors asked at once


def donors(config: VolumeConfig, me: MemberId, first: MemberId) -> tuple[MemberId, ...]:
    """Give whom to ask: who surely holds the log, then the others, from the one behind `me` on; not who is joining."""
    ids = [member.id for member in config.members]
    at = ids.index(me) + 1 if me in ids else 0
    return (first, *(id for id in ids[at:] + ids[:at] if id not in (me, first)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """[start, upto) is to be read from `donor`."""

    donor: MemberId
    start: Lsn
    upto: Lsn


class Sourcing:
    """One range on its way here."""

    def __init__(
        self, *, start: Lsn, upto: Lsn, donors: Sequence[MemberId], piece: int = PIECE, ahead: int = AHEAD
    ) -> None:
        self.at = start  # everything below came out
        self.upto = upto
        self._next = start  # nothing above was asked for yet
        self._piece, self._ahead = piece, ahead
        self._idle = list(donors)
        self._asked: dict[MemberId, Ask] = {}  # what is still to come from each
        self._gaps: list[tuple[Lsn, Lsn]] = []  # asked for once, and not given
        self._early: dict[Lsn, bytes] = {}  # came before what lies below it

    @property
    def done(self) -> bool:
        """Whether all came out."""
        return self.at >= self.upto

    @property
    def hopeless(self) -> bool:
        """Whether something is missing and nobody is left to ask."""
        return not self.done and not self._idle and not self._asked

    def asks(self) -> list[Ask]:
        """Give what is to be asked now: one piece of each donor at a time, of no more than LANES donors."""
        out: list[Ask] = []
        while self._idle and len(self._asked) < LANES and (gap := self._take()) is not None:
            ask = Ask(donor=self._idle.pop(0), start=gap[0], upto=gap[1])
            self._asked[ask.donor] = ask
            out.append(ask)
        return out

    def _take(self) -> tuple[Lsn, Lsn] | None:
        if self._gaps:
            return self._gaps.pop(0)
        upto = min(self._next + self._piece, self.upto)
        if upto <= self._next or upto > self.at + self._ahead:
            return None
        start, self._next = self._next, Lsn(upto)
        return start, self._next

    def arrived(self, donor: MemberId, lsn: Lsn, data: bytes) -> bytes:
        """Take bytes that `donor` sent at `lsn`; give what can be handed on at `at` now, maybe nothing."""
        ask = self._asked.get(donor)
        if ask is None or lsn != ask.start:
            return b""
        data = data[: ask.upto - lsn]
        self._asked[donor] = Ask(donor=donor, start=Lsn(lsn + len(data)), upto=ask.upto)
        if data:
            self._early[lsn] = data
        ready: list[bytes] = []
        while (piece := self._early.pop(self.at, None)) is not None:
            ready.append(piece)
            self.at = Lsn(self.at + len(piece))
        return ready[0] if len(ready) == 1 else b"".join(ready)

    def ended(self, donor: MemberId, *, failed: bool = False) -> None:
        """The answer is over; a donor that failed, or holds less than it was asked for, is asked no more."""
        ask = self._asked.pop(donor, None)
        if ask is None:
            return
        if ask.start < ask.upto:
            self._gaps = sorted([*self._gaps, (ask.start, ask.upto)])
        elif not failed:
            self._idle.append(donor)
