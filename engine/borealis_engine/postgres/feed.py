"""The feed: a walsender on a unix socket, from which this instance's PostgreSQL takes the volume's log.

To PostgreSQL it looks like any primary; behind it is whichever storage node answers. The invariant: the only bytes
that leave are those a Cutter passes, and a timeline ends for the receiver exactly where the next one forked off.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn, Member, format_lsn
from borealis_engine.core.history import epoch_of
from borealis_engine.core.messages import Feed as Sent
from borealis_engine.core.messages import History
from borealis_engine.postgres import timelines
from borealis_engine.postgres.cutter import Cutter, Piece
from borealis_engine.postgres.errors import FeedBroken
from borealis_engine.postgres.settings import FEED_PORT
from borealis_engine.postgres.source import RETRY_S, LogSource
from borealis_engine.proto.pgwire import StandbyStatus, WireError
from borealis_engine.proto.walsender import AskHistory, CopyEnded, Gone, Identify, Phase, Start, WalSender

READ_SIZE: Final = 1 << 16
IMPATIENCE_S: Final = 0.5  # before a node that lags is left for another
DOUBT_S: Final = 2.0  # without growth of D before another node is asked for its D, and between such questions


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What the feed says of the cluster that it serves."""

    identifier: int
    version: str
    segment_size: int


class Feed:
    """Serves this instance's walreceiver; `view` is what it has learnt of the volume on the way."""

    def __init__(self, source: LogSource, system: System, *, history: History, durable: Lsn) -> None:
        self.history, self.durable = history, durable
        self.passed = Lsn(0)  # end of what was passed on: a record's end, or a page's in a long record that is whole
        self.whole = Lsn(0)  # end of the last record that is known to be whole at or below D
        self.scanned = Lsn(0)  # end of what was looked at for records
        self.heard_at = time.monotonic()  # when a storage node last spoke
        self.timeline = Epoch(0)  # that the receiver streams, or streamed last
        self.goal = Lsn(0)  # E, while promoting
        self._source, self._system = source, system
        self._before, self._changed_at = epoch_of(history), float("-inf")  # the epoch before, and when it ceased to be
        self._asked = 0  # second opinions so far: each comes from another node than the last

    @property
    def named(self) -> History:
        """Give the timelines that PostgreSQL may know of."""
        return timelines.named_reigns(self.history, self.durable)

    @asynccontextmanager
    async def serve(self, sockets: Path) -> AsyncIterator[None]:
        """Listen beside PostgreSQL's socket for the time of the block; whoever may enter `sockets` may connect."""
        path = sockets / f".s.PGSQL.{FEED_PORT}"
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._accept, path)
        path.chmod(0o666)
        tasks = self._tasks = set[asyncio.Task[None]]()
        try:
            yield
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(WireError, FeedBroken, ConnectionError, asyncio.CancelledError):
                await _Connection(self, reader, writer).run()
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def refresh(self) -> None:
        """Learn history and D, if nothing is streaming that would tell."""
        if time.monotonic() - self.heard_at > 1.0 or not self.timeline:
            self.learn(*await self._source.look(self.durable))

    def learn(self, history: History, durable: Lsn) -> None:
        """Take what a node said: the higher (epoch, D) is kept, since D of an older epoch may lie above the newer E."""
        self.heard_at = time.monotonic()
        self._believe(history, durable)

    def _believe(self, history: History, durable: Lsn) -> None:
        if history and (epoch_of(history), durable) > self._known:
            if epoch_of(history) != epoch_of(self.history):
                self._before, self._changed_at = epoch_of(self.history), time.monotonic()
            self.history, self.durable = history, durable

    @property
    def _known(self) -> tuple[Epoch, Lsn]:
        return epoch_of(self.history), self.durable

    def epoch_before(self, seconds: float) -> Epoch:
        """Give the epoch that was the newest one so many seconds ago, of the last two."""
        return self._before if time.monotonic() - self._changed_at < seconds else epoch_of(self.history)

    async def pieces(self, start: Lsn) -> AsyncGenerator[Piece, None]:
        """Give the log from `start` on, in record ends, forever; an empty piece is a sign of life."""
        cutter = Cutter(passed=start, segment_size=self._system.segment_size, whole=self.whole)
        while True:
            for member in self._source.order():
                again = True
                while again:
                    with suppress(FeedBroken):
                        async with self._doubting(member), aclosing(self._source.follow(member, cutter.start)) as feeds:
                            async for sent in self._patiently(feeds, cutter):
                                yield sent
                        if not cutter.again:
                            self._source.demote(member)
                    again, cutter = cutter.again, cutter.resume()
                await asyncio.sleep(RETRY_S / 10)
            await asyncio.sleep(RETRY_S)

    async def _patiently(self, feeds: AsyncIterator[Sent], cutter: Cutter) -> AsyncGenerator[Piece, None]:
        """Pass pieces on until the node sends nothing although its D is below what is known to be durable.

        Also until a long record is whole whose bytes must be read again.
        """
        clock = asyncio.get_running_loop().time
        progress = clock()
        history: History = ()
        async for sent in feeds:
            history = history if sent.history is None else sent.history
            if history and epoch_of(history) < epoch_of(self.history):
                return  # below its D may lie part of a record that recovery has cut off since
            self.learn(history, sent.durable)
            piece = cutter.receive(sent)
            self.passed = max(self.passed, piece.end)
            self.whole, self.scanned = max(self.whole, cutter.whole), max(self.scanned, cutter.scanned)
            if cutter.again:
                return
            if sent.data or sent.durable >= max(self.goal, self.durable):
                progress = clock()
            elif clock() - progress > IMPATIENCE_S:
                return
            yield piece

    @asynccontextmanager
    async def _doubting(self, followed: Member) -> AsyncIterator[None]:
        """While a node is followed, ask others if D does not grow: it may be one that the writer does not reach.

        A higher D makes it a lagging one, which `_patiently` leaves; on an idle volume all say the same.
        """
        task = asyncio.create_task(self._doubt(followed), name=f"second opinions on {followed.name}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _doubt(self, followed: Member) -> None:
        while True:
            known = self._known
            await asyncio.sleep(DOUBT_S)
            others = sorted((m for m in self._source.order() if m.id != followed.id), key=lambda m: m.id)
            if others and self._known == known:
                self._asked += 1
                await self._ask(others[self._asked % len(others)])

    async def _ask(self, member: Member) -> None:
        with suppress(FeedBroken, TimeoutError):
            async with asyncio.timeout(DOUBT_S), aclosing(self._source.follow(member, self.durable)) as feeds:
                async for sent in feeds:
                    if sent.history is not None:
                        self._believe(sent.history, sent.durable)
                        return

    @property
    def system(self) -> System:
        """Give what the feed says of its cluster."""
        return self._system


class _Connection:
    """One connection of a walreceiver."""

    def __init__(self, feed: Feed, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._feed, self._reader, self._writer = feed, reader, writer
        self._sender = WalSender(feed.system.version)
        self._pump: asyncio.Task[None] | None = None
        self._following: tuple[Epoch, Lsn] | None = None

    async def run(self) -> None:
        try:
            while data := await self._reader.read(READ_SIZE):
                for event in self._sender.receive_data(data):
                    match event:
                        case Identify():
                            await self._identify()
                        case AskHistory(timeline=timeline):
                            self._sender.history(timeline, timelines.render_history(self._feed.named, timeline))
                        case Start():
                            self._start(event)
                        case CopyEnded():
                            await self._end()
                        case StandbyStatus(reply_requested=True) if self._sender.phase is Phase.COPY:
                            self._sender.keepalive(self._feed.durable, time.time())
                        case Gone():
                            return
                await self._flush()
        finally:
            await self._stop_pump()

    async def _identify(self) -> None:
        await self._feed.refresh()
        feed = self._feed
        self._sender.identify(feed.system.identifier, timelines.newest(feed.named), feed.durable)

    def _start(self, asked: Start) -> None:
        named = self._feed.named
        timeline = asked.timeline or timelines.newest(named)
        try:
            following = timelines.following(named, timeline)
        except KeyError:
            self._sender.refuse(f"timeline {timeline} is not one of this volume")
            return
        if following is not None and asked.lsn >= following[1]:
            self._sender.end_of_timeline(following)
            return
        self._feed.timeline = timeline
        self._sender.start_copy()
        self._pump = asyncio.create_task(self._stream(asked.lsn, timeline), name=f"feed from {format_lsn(asked.lsn)}")

    async def _stream(self, start: Lsn, timeline: Epoch) -> None:
        """Send pieces until the timeline ends; any failure closes the connection, and the receiver comes again."""
        feed, sender = self._feed, self._sender
        try:
            async with aclosing(feed.pieces(start)) as pieces:
                async for piece in pieces:
                    following = timelines.following(feed.named, timeline)
                    end = timelines.limit(feed.history, timeline)
                    part = piece if end is None else piece.clipped(end)
                    sender.wal(part.lsn, part.data, feed.durable, time.time())
                    if following is not None and piece.end >= following[1]:
                        self._following = following
                        sender.end_copy()
                        await self._flush()
                        return
                    if not part.data:
                        sender.keepalive(feed.durable, time.time())
                    await self._flush()
        except (FeedBroken, KeyError, ValueError, ConnectionError):
            self._writer.transport.abort()

    async def _end(self) -> None:
        if self._sender.phase is Phase.COPY_DONE:
            following, self._following = self._following, None
            await self._stop_pump()
            self._sender.end_of_timeline(following)

    async def _stop_pump(self) -> None:
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _flush(self) -> None:
        if data := self._sender.data_to_send():
            self._writer.write(data)
            await self._writer.drain()
