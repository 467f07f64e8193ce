"""The newest WAL of a reign, in memory, for members that are a little behind. Bounded; older log is on the members."""

from bisect import bisect_right

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.errors import Misuse


class Window:
    """Contiguous bytes [start, end), kept in the chunks they came in so that nothing is copied for those in step."""

    __slots__ = ("_chunks", "_limit", "_starts", "end", "start")

    def __init__(self, start: Lsn, limit: int) -> None:
        self.start = start
        self.end = start
        self._limit = limit
        self._starts: list[int] = []
        self._chunks: list[bytes] = []

    def append(self, lsn: Lsn, data: bytes) -> None:
        """Take the bytes at `end`; Misuse if they lie elsewhere."""
        if lsn != self.end:
            raise Misuse(f"WAL at {lsn} was offered, {self.end} comes next")
        self._starts.append(lsn)
        self._chunks.append(data)
        self.end = Lsn(lsn + len(data))

    def piece(self, lsn: Lsn, size: int) -> bytes:
        """Give bytes from `lsn` (start <= lsn < end) on, about `size` of them, at least one."""
        at = bisect_right(self._starts, lsn) - 1
        first = self._chunks[at]
        offset = lsn - self._starts[at]
        piece = first[offset : offset + size] if offset or len(first) > size else first
        if len(piece) >= size or at + 1 == len(self._chunks):
            return piece
        parts, have = [piece], len(piece)
        for chunk in self._chunks[at + 1 :]:
            if have + len(chunk) > size:
                break
            parts.append(chunk)
            have += len(chunk)
        return b"".join(parts) if len(parts) > 1 else piece

    def trim(self, durable: Lsn) -> None:
        """Drop the oldest bytes beyond the limit, but none above `durable`: no member might hold those."""
        if self.end - self.start <= self._limit + self._limit // 4:
            return
        keep = min(durable, self.end - self._limit)
        count = max(0, bisect_right(self._starts, keep) - 1)
        del self._starts[:count], self._chunks[:count]
        self.start = Lsn(self._starts[0])
