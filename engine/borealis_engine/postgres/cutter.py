"""Cuts the volume's log at record ends for one reader. Pure.

The invariant (DESIGN §2, rule 6): nothing is passed on beyond the last record end at or below D, so no reader ever
has to be rewound; and what is passed on is contiguous, whichever storage nodes it came from.
"""

from dataclasses import dataclass

from borealis_engine.contract.volume import Lsn, format_lsn
from borealis_engine.core.messages import Feed
from borealis_engine.postgres.errors import FeedBroken
from borealis_engine.proto.wal import PAGE, RecordScanner


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
    """The log from `passed` on; `resume` makes the one that goes on with another connection."""

    def __init__(self, *, passed: Lsn, segment_size: int) -> None:
        self.passed = passed
        self.start = Lsn(passed - passed % PAGE)
        self._segment_size = segment_size
        self._scanner = RecordScanner(self.start, segment_size)
        self._held = bytearray()  # from self.start or self.passed on, whichever is higher

    def resume(self) -> "Cutter":
        """Give a cutter that wants the log from its own `start` again and passes on what this one has not."""
        return Cutter(passed=self.passed, segment_size=self._segment_size)

    def receive(self, feed: Feed) -> Piece:
        """Take what a storage node sent and give what may be passed on; FeedBroken if bytes are missing."""
        if not feed.data:
            return Piece(lsn=self.passed, data=b"")
        if feed.lsn != self._scanner.fed:
            raise FeedBroken(f"log at {format_lsn(feed.lsn)} instead of {format_lsn(self._scanner.fed)}")
        fresh = max(0, self.passed - feed.lsn)  # after `resume`: passed on already
        self._held += feed.data[fresh:]
        return self._release(self._scanner.receive_data(feed.data))

    def _release(self, end: Lsn) -> Piece:
        count = max(0, end - self.passed)
        piece = Piece(lsn=self.passed, data=bytes(self._held[:count]))
        del self._held[:count]
        self.passed = piece.end
        return piece
