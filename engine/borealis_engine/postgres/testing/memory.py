"""Doubles of the volume for tests of the PostgreSQL side: a log in memory with a D that the test moves."""

import asyncio
from contextlib import suppress

from borealis_engine.contract.volume import Epoch, Lsn, Member, MemberId
from borealis_engine.core.history import extend
from borealis_engine.core.messages import Feed, History, Reign
from borealis_engine.postgres.errors import FeedBroken
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.source import BEGINNING, Feeds

PIECE = 100_000
BEAT_S = 0.2


class MemoryVolume:
    """A LogSource of one member: bytes from `start` on, a history, and D."""

    def __init__(self, *, image: str, start: Lsn, log: bytes) -> None:
        self.start = start
        self.log = bytearray(log)
        self.history: History = (Reign(epoch=Epoch(1), start=start, image=image),)
        self.durable = self.end
        self.broken = 0  # connections that were ended by `interrupt`
        self._changed = asyncio.Event()
        self._member = Member(id=MemberId("0" * 16), name="memory", zone="a")

    @property
    def end(self) -> Lsn:
        """Give where the next byte belongs."""
        return Lsn(self.start + len(self.log))

    def append(self, data: bytes, *, durable: bool = True) -> None:
        """Add bytes, and move D behind them unless told otherwise."""
        self.log += data
        if durable:
            self.durable = self.end
        self._wake()

    def settle(self, durable: Lsn) -> None:
        """Move D."""
        self.durable = durable
        self._wake()

    def begin(self, epoch: Epoch, end: Lsn) -> None:
        """Cut the log at E and let a new reign begin there."""
        del self.log[end - self.start :]
        self.history = extend(self.history, epoch, end)
        self.durable = end
        self.interrupt()

    def interrupt(self) -> None:
        """End all connections, as a node does that truncates."""
        self.broken += 1
        self._wake()

    def order(self) -> list[Member]:
        """Give the one member."""
        return [self._member]

    def demote(self, member: Member) -> None:
        """There is no other."""

    async def follow(self, member: Member, start: Lsn) -> Feeds:
        """Send as a storage node does."""
        at, broken, history = start or self.start, self.broken, None
        while True:
            if broken != self.broken:
                raise FeedBroken("interrupted")
            data = bytes(memoryview(self.log)[at - self.start : min(at + PIECE, self.durable) - self.start])
            fresh = self.history if self.history != history else None
            history = self.history
            yield Feed(lsn=at, durable=self.durable, data=data, history=fresh)
            at = Lsn(at + len(data))
            if not data:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await self._changed.wait()

    async def look(self, start: Lsn = BEGINNING) -> tuple[History, Lsn]:
        """Give history and D."""
        return self.history, self.durable

    def _wake(self) -> None:
        self._changed.set()


class MemorySink:
    """A leadership over a MemoryVolume, whose D stands still until there is a `writer` to tell it to."""

    def __init__(self, volume: MemoryVolume) -> None:
        self.volume, self.room = volume, 1 << 20
        self.writer: LogWriter | None = None

    def reclaim(self) -> None:
        """Nothing is lent."""

    def offer(self, lsn: Lsn, data: bytes) -> None:
        """Take the next bytes, durable at once."""
        self.volume.append(data, durable=self.writer is not None)
        if self.writer is not None:
            self.writer.durable(self.volume.end)
