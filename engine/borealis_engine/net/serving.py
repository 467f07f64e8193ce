"""What a storage node sends out in bulk: pieces of the log, feeds, images. The node has permitted each already.

Invariant: after each wait it is asked again whether what was read may still be sent, so nothing that a truncation
made void goes out, a feed never passes the node's `readable`, and none outlives the node's service.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, assert_never

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.effects import Conn, ServeFeed, ServeImage, ServeLog
from borealis_engine.core.messages import Feed, History, ImageData, LogData
from borealis_engine.net.channel import Channel
from borealis_engine.store.errors import DiskCorrupt, ImageUnknown, LogUnknown, StoreError

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell

log = logging.getLogger(__name__)

PIECE = 256 << 10
FEED_SILENCE_S = 1.0  # an empty Feed says that the node lives


class Serving:
    """The bulk answers under way."""

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell
        self._tasks: dict[Conn, list[asyncio.Task[None]]] = defaultdict(list)
        self._fed: dict[Conn, Lsn] = {}  # up to where each feed was sent

    def serve(self, effect: ServeLog | ServeFeed | ServeImage) -> None:
        """Begin to answer."""
        channel = self._shell.channel(effect.conn)
        if channel is not None:
            self._tasks[effect.conn].append(self._shell.spawn(self._serve(effect, channel)))

    def closed(self, conn: Conn) -> None:
        """Stop what is sent on a connection."""
        self._fed.pop(conn, None)
        for task in self._tasks.pop(conn, []):
            task.cancel()

    def truncated(self, end: Lsn) -> None:
        """Close the feeds that were sent log above `end`: their readers begin again at a record's end."""
        for conn, fed in list(self._fed.items()):
            channel = self._shell.channel(conn)
            if fed > end and channel is not None:
                channel.close(f"the log was truncated at {end}")

    async def _serve(self, effect: ServeLog | ServeFeed | ServeImage, channel: Channel) -> None:
        try:
            match effect:
                case ServeLog():
                    await self._log(effect, channel)
                case ServeFeed():
                    await self._feed(effect, channel)
                case ServeImage():
                    await self._image(effect, channel)
                case _:
                    assert_never(effect)
        except (LogUnknown, ImageUnknown) as error:
            channel.close(str(error))
        except StoreError as error:
            if isinstance(error, DiskCorrupt):
                self._shell.meters.corrupt.inc()
            channel.close(str(error))
            self._shell.fail(error)

    async def _read(self, start: Lsn, upto: Lsn) -> bytes:
        store = self._shell.store
        if store is None:
            raise LogUnknown("no disk")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._shell.read_threads, lambda: store.journal.read(start, upto, limit=PIECE)
        )

    async def _log(self, effect: ServeLog, channel: Channel) -> None:
        at, upto, node = effect.start, effect.upto, self._shell.node
        while channel.open:
            data = await self._read(at, upto) if at < upto else b""
            if not node.serves(effect.epoch):
                channel.close("the log of this epoch is not served any more")
                return
            last = at + len(data) >= upto
            channel.send(LogData(lsn=at, data=data, last=last))
            at = Lsn(at + len(data))
            if last:
                return
            await channel.drain()

    async def _feed(self, effect: ServeFeed, channel: Channel) -> None:
        shell, node = self._shell, self._shell.node
        sent, told = effect.start, None
        while channel.open:
            changed, cuts, history = shell.readable_changed, shell.cuts, node.feed_history
            sent = max(sent, node.durable.start)
            self._fed[effect.conn] = sent
            upto = node.readable
            data = await self._read(sent, upto) if sent < upto else b""
            if node.unfit:
                channel.close(f"out of service: {node.unfit}")
                return
            if shell.cuts != cuts or sent + len(data) > max(sent, node.readable):
                continue  # truncated while it was read
            channel.send(_feed_of(sent, upto, data, history if history != told else None))
            told, sent = history, Lsn(sent + len(data))
            if channel.open:
                self._fed[effect.conn] = sent
            await channel.drain()
            if sent >= upto:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FEED_SILENCE_S):
                        await changed.wait()

    async def _image(self, effect: ServeImage, channel: Channel) -> None:
        store = self._shell.store
        if store is None:
            raise ImageUnknown("no disk")
        loop, size, pieces = (
            asyncio.get_running_loop(),
            store.images.size(effect.image),
            store.images.pieces(effect.image),
        )
        while channel.open:
            piece = await loop.run_in_executor(self._shell.read_threads, _next, pieces)
            if piece is None:
                return
            channel.send(ImageData(image=effect.image, size=size, offset=piece[0], data=piece[1]))
            await channel.drain()


def _next(pieces: Iterator[tuple[int, bytes]]) -> tuple[int, bytes] | None:
    return next(pieces, None)


def _feed_of(lsn: Lsn, durable: Lsn, data: bytes, history: History | None) -> Feed:
    return Feed(lsn=lsn, durable=durable, data=data, history=history)
