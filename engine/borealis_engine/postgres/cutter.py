"""Cuts the volume's log at record ends for one reader. Pure.

The invariant (DESIGN §2, rule 6): nothing is passed on beyond the last record end at or below D, so no reader ever
has to be rewound; and what is passed on is contiguous, whichever storage nodes it came from. PostgreSQL makes records
of up to 1 GB, so what is held back is the position and not the bytes.
"""

from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Lsn, format_lsn
from borealis_engine.core.messages import Feed
from borealis_engine.postgres.errors import FeedBroken
from borealis_engine.proto.wal import PAGE, RecordScanner

HELD: Final = 4 << 20  # bytes of a record that is not whole yet; a longer one is read twice instead
NOTHING: Final = Lsn(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """WAL to pass on at `lsn`."""

    lsn: Lsn
    data: bytes

    @property
    def end(self) -> Lsn:
        """Give the LSN after the last byte."""
        return Lsn(self.lsn + len(self.data))

    def clipped(self, end: Lsn) -> "Piece":
        """Give the part below `end`."""
        return self if self.end <= end else Piece(lsn=self.lsn, data=self.data[: max(0, end - self.lsn)])


class Cutter:
    """The log from `passed` on; `resume` makes the one that goes on with another connection.

    A record that is not whole yet is held up to HELD bytes. Of a longer one nothing is held: its bytes are scanned and
    dropped until it is whole at or below D, then they are read again (`again`) and pass on as they come. `whole` is an
    end up to where all records are known to be whole at or below D: such bytes never disappear.
    """

    def __init__(self, *, passed: Lsn, segment_size: int, whole: Lsn = NOTHING) -> None:
        self.passed = passed
        self.whole = whole
        self.start = Lsn(passed - passed % PAGE)
        self._segment_size = segment_size
        self._scanner = RecordScanner(self.start, segment_size)
        self._held = bytearray()  # from self.start or self.passed on, whichever is higher
        self._dropped = False  # what came behind `passed` is not held

    def resume(self) -> "Cutter":
        """Give a cutter that wants the log from its own `start` again and passes on what this one has not."""
        return Cutter(passed=self.passed, segment_size=self._segment_size, whole=self.whole)

    @property
    def scanned(self) -> Lsn:
        """Give the end of what was looked at."""
        return self._scanner.fed

    @property
    def held(self) -> int:
        """Give the number of bytes in memory: at most HELD between calls."""
        return len(self._held)

    @property
    def again(self) -> bool:
        """Whether a record is whole whose bytes were dropped: `resume`, for nothing passes on from here."""
        return self._dropped and self.whole > self.passed

    def receive(self, feed: Feed) -> Piece:
        """Take what a storage node sent and give what may be passed on; FeedBroken if bytes are missing."""
        if not feed.data:
            return Piece(lsn=self.passed, data=b"")
        if feed.lsn != self._scanner.fed:
            raise FeedBroken(f"log at {format_lsn(feed.lsn)} instead of {format_lsn(self._scanner.fed)}")
        if not self._dropped:
            self._held += feed.data[max(0, self.passed - feed.lsn) :]  # after `resume` some were passed on already
        end = self._scanner.receive_data(feed.data)
        if end > self.start:
            self.whole = max(self.whole, end)
        return self._release()

    def _release(self) -> Piece:
        """Give what is held of whole records; a part of one ends with a page, as WalSender.wal says."""
        end = min(self.whole, Lsn(self.passed + len(self._held)))
        if end < self.whole:
            end = Lsn(end - end % PAGE)
        count = max(0, end - self.passed)
        piece = Piece(lsn=self.passed, data=bytes(memoryview(self._held)[:count]))
        del self._held[:count]
        self.passed = piece.end
        if len(self._held) > HELD:
            self._held.clear()
            self._dropped = True
        return piece
