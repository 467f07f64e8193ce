"""D as one storage node knows it: what the owner of an epoch announced, and how much of that is here.

D of an epoch speaks of that epoch's log. Bytes of a later reign are not durable because an older D lies above them:
`here` stops where the next reign begins. D is believed only in an epoch whose entry is durable here.
"""

from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import Committed, DurableState
from borealis_engine.core.messages import History

RECORD_S: Final = 1.0  # seconds after which an advance of D is recorded: for readers, and elections, after a restart


class Watermark:
    """The highest D announced, in order of (epoch, LSN)."""

    __slots__ = ("_vouched", "due", "epoch", "lsn")

    def __init__(self, state: DurableState) -> None:
        self.epoch: Epoch = state.committed_epoch
        self.lsn: Lsn = state.committed
        self.due: float | None = None  # when to record it
        self._vouched: tuple[History, Epoch, History] = ((), self.epoch, ())  # the last answer of `history`

    def announce(self, epoch: Epoch, lsn: Lsn, held: DurableState, now: float) -> None:
        """Take the D that the owner of `epoch` announced, if it may be believed and is news."""
        if held.epoch != epoch or lsn < held.history[-1].start:
            return  # an owner that is not established yet has no D
        if (epoch, lsn) > (self.epoch, self.lsn):
            self.epoch = epoch
            self.rise(lsn, now)

    def rise(self, lsn: Lsn, now: float) -> None:
        """Take a higher D of the same epoch."""
        self.lsn = lsn
        if self.due is None:
            self.due = now + RECORD_S

    def here(self, state: DurableState) -> Lsn:
        """How far D goes in the log of `state`."""
        limit = min(self.lsn, state.flush)
        if state.history and state.history[-1].epoch <= self.epoch:
            return limit
        for reign in reversed(state.history):
            if reign.epoch <= self.epoch:
                break
            limit = min(limit, reign.start)
        return limit

    def history(self, state: DurableState) -> History:
        """The reigns that D vouches for: later ones may yet be lost."""
        reached = state.held
        if self._vouched[0] is not reached or self._vouched[1] != self.epoch:
            vouched = tuple(reign for reign in reached if reign.epoch <= self.epoch)
            self._vouched = (reached, self.epoch, vouched)
        return self._vouched[2]

    def record(self, state: DurableState) -> Committed | None:
        """Give the record that makes D durable behind `state`, if that is news."""
        self.due = None
        if state.epoch < self.epoch or (self.epoch, self.lsn) <= (state.committed_epoch, state.committed):
            return None
        return Committed(epoch=self.epoch, lsn=self.lsn)
