"""A writer without PostgreSQL: core.writer.Writer over real connections, for tests and measurements of the volume.

Its log is any bytes, each of which counts as the end of a record. An empty volume gets an image that holds nothing
but a little log.
"""

import asyncio
import hashlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from types import TracebackType
from typing import Any, Self

from borealis_engine.contract.names import ROLE_INSTANCE
from borealis_engine.contract.volume import Lsn, MemberId, VolumeConfig
from borealis_engine.core.drain import Drain
from borealis_engine.core.effects import (
    ConfigLearned,
    DurableAdvanced,
    Elected,
    Fenced,
    ImageExtent,
    LeaseLost,
    NeedImage,
    Reconnect,
    SendTo,
    Waiting,
    WriterEffect,
)
from borealis_engine.core.messages import Envelope
from borealis_engine.core.tail import LogEnd
from borealis_engine.core.writer import WINDOW, Writer
from borealis_engine.net.errors import NetError
from borealis_engine.net.members import Members
from borealis_engine.net.testing.nodes import StorageNodes
from borealis_engine.proto.image import ImageDescription, render_head

WAL_START = Lsn(16 << 20)
WAL_END = Lsn(WAL_START + 1000)
DEADLINE_S = 30.0
_PIECE = 1 << 20


class WriterDriver:
    """Campaigns from the start of the block, resigns nothing at its end (as a killed writer would)."""

    def __init__(self, nodes: StorageNodes, *, window: int = WINDOW) -> None:
        """Campaign for the volume; `window` bytes of log are kept in memory for members that are behind."""
        self.owner = secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        self.members = Members(tls=nodes.tls(ROLE_INSTANCE), identity=self.owner, config=nodes.config, listener=self)
        self._loop = loop
        self.writer = Writer(
            config=nodes.config, owner=self.owner, lease=nodes.lease_s, scan=_every_byte, now=loop.time(), window=window
        )
        self._drain = Drain(self.writer.effects, self._carry_out)
        self.elected: asyncio.Future[Elected] = loop.create_future()
        self.over: asyncio.Future[Fenced | LeaseLost] = loop.create_future()
        self.refused = asyncio.Event()  # a round of the campaign came to nothing
        self.waits = ""  # and why
        self._commits: deque[tuple[Lsn, asyncio.Future[None]]] = deque()
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when the timer is due
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._frozen = False

    async def __aenter__(self) -> Self:
        self.members.start()
        self._after()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await self.members.aclose()

    async def reign(self) -> Elected:
        """Wait for the election; TimeoutError after DEADLINE_S."""
        async with asyncio.timeout(DEADLINE_S):
            return await asyncio.shield(self.elected)

    async def waits_for(self, what: str) -> str:
        """Wait until a round of the campaign came to nothing for this reason; TimeoutError after DEADLINE_S."""
        async with asyncio.timeout(DEADLINE_S):
            while what not in self.waits:
                self.refused.clear()
                await self.refused.wait()
        return self.waits

    async def append(self, data: bytes) -> Lsn:
        """Append and wait until it is durable on the volume; give its end. TimeoutError after DEADLINE_S."""
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer += data
        end = Lsn(self.writer.end + len(self._buffer))
        done: asyncio.Future[None] = self._loop.create_future()
        self._commits.append((end, done))
        async with asyncio.timeout(DEADLINE_S):
            await done
        return end

    async def append_when_elected(self, data: bytes) -> Lsn:
        """Wait for the election, then append."""
        await self.reign()
        return await self.append(data)

    def resign(self) -> None:
        """Give the epoch up."""
        self.writer.resign(self._loop.time())
        self._after()

    def freeze(self) -> None:
        """Do nothing and hear nothing, as a stopped process does, until `thaw`."""
        self._frozen = True

    def thaw(self) -> None:
        """Go on as if no time had passed: what came meanwhile is lost."""
        self._frozen = False
        self._after()

    # --- what the members tell ------------------------------------------------------------------------------------

    def connected(self, member: MemberId) -> None:
        """Pass on."""
        self.writer.connected(member, self._loop.time())
        self._after()

    def disconnected(self, member: MemberId) -> None:
        """Pass on."""
        self.writer.disconnected(member, self._loop.time())
        self._after()

    def received(self, member: MemberId, envelope: Envelope) -> None:
        """Pass on."""
        if not self._frozen:
            self.writer.receive(member, envelope, self._loop.time())
            self._after()

    def configured(self, config: VolumeConfig) -> None:
        """Pass on."""
        self.writer.configure(config)

    # --- the writer's effects ----------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._offer()
        self._after()

    def _offer(self) -> None:
        """Offer what waits, as far as there is room."""
        while self._buffer and (room := min(_PIECE, self.writer.room)):
            piece = bytes(self._buffer[:room])
            del self._buffer[:room]
            self.writer.offer(self.writer.end, piece, self._loop.time())

    def _after(self) -> None:
        if self._closed or self._frozen:
            return
        self._drain.run()
        due = self.writer.next_deadline()
        if self._timer is None or due < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = self._loop.call_at(max(due, self._loop.time() + 0.001), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._frozen:
            return
        self.writer.tick(self._loop.time())
        self._after()

    def _carry_out(self, effects: list[WriterEffect]) -> None:
        for effect in effects:
            self._do(effect)
        self._offer()

    def _do(self, effect: WriterEffect) -> None:
        match effect:
            case SendTo(member=member, message=message):
                self.members.send(member, message)
            case Reconnect(member=member, reason=reason):
                self.members.disconnect(member, reason)
            case Waiting(reason=reason):
                self.waits = reason
                self.refused.set()
            case NeedImage():
                self._spawn(self._make_image())
            case Elected():
                if not self.elected.done():
                    self.elected.set_result(effect)
            case DurableAdvanced(lsn=lsn):
                self._acknowledge(lsn)
            case Fenced() | LeaseLost():
                if not self.over.done():
                    self.over.set_result(effect)
            case ConfigLearned(config=config):
                self.members.configure(config)

    def _acknowledge(self, lsn: Lsn) -> None:
        while self._commits and self._commits[0][0] <= lsn:
            _, done = self._commits.popleft()
            if not done.done():
                done.set_result(None)

    async def _make_image(self) -> None:
        image, blob = make_image()
        self.writer.image_made(image, ImageExtent(start=WAL_START, end=WAL_END), self._loop.time())
        for member in self.writer.config.members:
            self._spawn(self._upload(member.id, image, blob))
        self._after()

    async def _upload(self, member: MemberId, image: str, blob: bytes) -> None:
        try:
            await self.members.put_image(member, image=image, size=len(blob), pieces=_pieces(blob))
        except NetError:
            return  # a member that has no image cannot begin; four others can
        self.writer.image_stored(member, self._loop.time())
        self._after()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def make_image() -> tuple[str, bytes]:
    """Give digest and bytes of an image that holds no database."""
    description = ImageDescription(
        system_identifier=secrets.randbits(63), major=15, segment_size=16 << 20, wal_start=WAL_START, wal_end=WAL_END
    )
    blob = render_head(description) + bytes(WAL_END - WAL_START) + secrets.token_bytes(3 << 20)
    return hashlib.sha256(blob).hexdigest(), blob


async def _pieces(blob: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(blob), _PIECE):
        yield blob[at : at + _PIECE]


def _every_byte(start: Lsn, tail: bytes) -> LogEnd | None:
    return LogEnd(end=Lsn(start + len(tail)))
