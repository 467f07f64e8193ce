"""Lays records out in pages and segments as PostgreSQL does: the other direction of `proto.wal`, for its tests."""

import struct
from dataclasses import dataclass, field

SEGMENT = 4 * 8192
PAGE = 8192


@dataclass(slots=True, kw_only=True)
class WalBuilder:
    """Appends records; `ends` collects their ends as PostgreSQL counts them."""

    start: int = 10 * SEGMENT
    data: bytearray = field(default_factory=bytearray)
    ends: list[int] = field(default_factory=list)

    @property
    def position(self) -> int:
        return self.start + len(self.data)

    def record(self, length: int, *, info: int = 0, rmgr: int = 10) -> None:
        """Append one record of `length` bytes, header included."""
        body = struct.pack("=IIQBBHI", length, 1, 0, info, rmgr, 0, 0) + b"\xab" * (length - 24)
        self._put(body, fresh=True)
        self._put(bytes(-self.position % 8), fresh=False)
        self.ends.append(self.position)

    def switch(self) -> None:
        """Append a segment switch and the zeros after it."""
        self.record(24, info=0x40, rmgr=0)
        self.data += bytes(-self.position % SEGMENT)
        self.ends[-1] = self.position

    def _put(self, body: bytes, *, fresh: bool) -> None:
        while body:
            if self.position % PAGE == 0:
                self._page(0 if fresh else len(body))
            room = PAGE - self.position % PAGE
            self.data += body[:room]
            body, fresh = body[room:], False

    def _page(self, remaining: int) -> None:
        at, first = self.position, self.position % SEGMENT == 0
        info = (1 if remaining else 0) | (2 if first else 0)
        self.data += struct.pack("=HHIQI4x", 0xD110, info, 1, at, remaining)
        if first:
            self.data += struct.pack("=QII", 42, SEGMENT, PAGE)
