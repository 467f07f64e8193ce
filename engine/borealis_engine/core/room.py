"""How far a member's disk can take the log, as a place of the log: beyond it plain appends are refused.

A disk keeps a reserve. Plain log never uses it; it serves what must go on when a disk is nearly full: promises,
entries, configurations, log that others hold already (a member that lacks it cannot join an election's reign), and the
first ALLOWANCE bytes of each leadership, without which nobody could be promoted. A place of the log stays true while
log is written, so it is told seldom: when it moved by a STEP_SHARE of what is left.
"""

from collections.abc import Callable
from typing import Final

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.effects import Conn, Send
from borealis_engine.core.messages import RoomLeft
from borealis_engine.core.pipeline import Pipeline

MIB: Final = 1 << 20
RESERVE_SHARE: Final = 32  # a 32nd of a disk is its reserve,
LEAST_RESERVE: Final = 32 * MIB  # at least so much: half as much again as the log that may be on its way to one member,
MOST_RESERVE: Final = 512 * MIB  # and at most so much
LAST: Final = 4 * MIB  # bytes of the reserve that no log may use: promises, entries and configurations
ALLOWANCE: Final = 1 * MIB  # bytes of a leadership's log that may use the reserve: a promotion writes some 100 KiB
STEP_SHARE: Final = 16
LEAST_STEP: Final = 1 * MIB
UNBOUNDED: Final = Lsn(1 << 63)  # nothing was said of room


def choose_reserve(size: int) -> int:
    """Return the reserve of a disk of `size` bytes, in bytes."""
    return min(max(size // RESERVE_SHARE, LEAST_RESERVE), MOST_RESERVE)


class Room:
    """The room of one member; unbounded until `measured` is called."""

    __slots__ = ("_emit", "_last", "_pipe", "_plain", "_told", "owner")

    def __init__(self, pipe: Pipeline, emit: Callable[[Send], None]) -> None:
        self._pipe, self._emit = pipe, emit
        self._plain = UNBOUNDED
        self._last = UNBOUNDED
        self.owner: Conn | None = None  # the connection by which the promised owner was heard last
        self._told: tuple[Conn, int, Lsn] | None = None  # connection, epoch, and what the owner knows

    def measured(self, free: int, reserve: int) -> None:
        """`free` bytes can be written, of which `reserve` are not for plain log."""
        flush = self._pipe.held.flush
        self._plain = Lsn(max(flush + free - reserve, 0))
        self._last = Lsn(max(flush + free - min(LAST, reserve), 0))

    @property
    def upto(self) -> Lsn:
        """Return the end of the log that plain appends of the newest entry may reach."""
        history = self._pipe.seen.history
        return self._upto(history[-1].start) if history else self._plain

    def refuses(self, start: Lsn, upto: int) -> bool:
        """Return whether a leadership that starts at `start`, and has log up to `upto`, is more than the disk can take.

        What lies below `start` is held by others already: the reserve serves it, for without it nobody is elected.
        """
        held = self._pipe.seen.flush
        return start > max(self._last, held) or upto > max(self._upto(start), held, start)

    def _upto(self, start: Lsn) -> Lsn:
        return Lsn(max(self._plain, min(start + ALLOWANCE, self._last)))

    def tell(self, *, always: bool = False) -> None:
        """Send the owner how far its log may go, if that is news to it or `always`."""
        conn, epoch, upto = self.owner, self._pipe.seen.promised, self.upto
        if conn is not None and (always or self._is_news(conn, epoch, upto)):
            self._told = (conn, epoch, upto)
            self._emit(Send(conn=conn, message=RoomLeft(epoch, upto)))

    def leave(self, conn: Conn) -> None:
        """A connection is gone: nobody is told on it any more."""
        self.owner = None if self.owner == conn else self.owner

    def _is_news(self, conn: Conn, epoch: int, upto: Lsn) -> bool:
        """Return whether the owner on `conn` must hear of `upto`."""
        if self._told is None or self._told[:2] != (conn, epoch):
            return upto != UNBOUNDED
        left = max(0, upto - self._pipe.held.flush)
        return abs(upto - self._told[2]) >= max(LEAST_STEP, left // STEP_SHARE)
