"""The state that nearly every append finds, and the little that is done then: the short way through a node.

The owner's reign is begun, nothing else is under way, and the append continues the one before it on the same
connection. `Node.receive`, `effects` and `persisted` could do it all, at several times the price; a commit waits for
four nodes to have done it. The simulator and the shell take this way whenever it is open.
"""

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.effects import Conn
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.journal import DurableState
from borealis_engine.core.pipeline import Pipeline
from borealis_engine.core.room import UNBOUNDED
from borealis_engine.core.tenure import Tenure
from borealis_engine.core.watermark import Watermark


class Steady:
    """Who may go the short way, granted by an append that went the long one, until anything else comes."""

    __slots__ = ("_beats", "_holder", "_mark", "_pipe", "_tenure", "upto")

    def __init__(self, *, pipe: Pipeline, mark: Watermark, tenure: Tenure, beats: dict[Conn, int]) -> None:
        self._pipe, self._mark, self._tenure, self._beats = pipe, mark, tenure, beats
        self._holder: tuple[Conn, Epoch, int] | None = None  # connection, epoch, stream
        self.upto = UNBOUNDED  # core.room: an append beyond goes the long way, and is refused there

    def grant(self, conn: Conn, epoch: Epoch, stream: int, upto: Lsn) -> None:
        """The promised owner's append was in order, in an epoch whose entry is held and whose D is known."""
        self._holder, self.upto = (conn, epoch, stream), upto

    @property
    def holder(self) -> tuple[Conn, Epoch, int] | None:
        """Connection, epoch and stream whose appends may go the short way now; None: none may."""
        return self._holder if self._pipe.idle else None

    @property
    def durable(self) -> Lsn:
        """The D below which no append may fall back."""
        return self._mark.lsn

    def revoke(self) -> None:
        """Something else came."""
        self._holder = None

    def extend(
        self, conn: Conn, epoch: Epoch, stream: int, lsn: Lsn, durable: Lsn, beat: int, size: int, now: float
    ) -> DurableState | None:
        """Take an append of `size` bytes, whose generation and recipient are right; None: it must go the long way.

        Make the bytes and the state that this gives durable, then call `Node.extended`.
        """
        mark, flush = self._mark, self._pipe.held.flush
        if (conn, epoch, stream) != self._holder or lsn != flush or not mark.lsn <= durable <= flush + size:
            return None  # D may lie among these bytes if they are several appends: four others were quicker
        if flush + size > self.upto:
            return None
        after = self._pipe.extend(size)
        if after is not None:
            self._tenure.heard_at = now
            if durable > mark.lsn:
                mark.rise(durable, now)
            self._beats[conn] = beat
        return after

    def advance(self, size: int, durable: Lsn, beat: int, heard: float) -> DurableState:
        """Take `size` bytes of the holder's appends that are durable and acked already, by the rules of `extend`.

        Somebody else went the short way for the core, append by append; D, beat and time are the last one's.
        SafetyViolated if nobody may go it.
        """
        if self.holder is None or not self._mark.lsn <= durable <= self._pipe.held.flush + size:
            raise SafetyViolated(f"{size} bytes were taken for nobody, or with D {durable}")
        after = self._pipe.advance(size)
        self._tenure.heard_at = heard
        if durable > self._mark.lsn:
            self._mark.rise(durable, heard)
        self._beats[self.holder[0]] = beat
        return after
