"""The shell around core.writer.Writer: candidacy and reign over the volume, on standing connections to its members.

The invariant: the core decides and this module carries out, in order (core.drain); every input is followed by draining
the effects before anything else happens, and times are those of one monotonic clock.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, assert_never

from borealis_engine.contract.volume import Epoch, Lsn, MemberId, VolumeConfig
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
from borealis_engine.core.journal import NOBODY
from borealis_engine.core.messages import Append, Envelope
from borealis_engine.core.slowness import Standing
from borealis_engine.core.writer import Writer
from borealis_engine.net.errors import NetError
from borealis_engine.net.members import Members
from borealis_engine.net.tls import Tls
from borealis_engine.postgres.errors import Cause, PostgresError, ReignEnded
from borealis_engine.postgres.image import Image
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.reign_lane import ReignLane
from borealis_engine.proto.wal import find_end

log = logging.getLogger(__name__)
UPLOAD_PIECE: Final = 256 * 1024
RETRY_S: Final = 0.2
REFUSED: Final = "the core refused an input"
FAREWELL_S: Final = 0.05  # for the resignation to leave our sockets


class Ownership:
    """One attempt to be the writer, from the first canvass to the end of the reign; of no use afterwards.

    `elected` gives the election's result; `ended` completes with ReignEnded when the reign or the attempt is over.
    """

    def __init__(
        self, *, config: VolumeConfig, tls: Tls, lease: float, segment_size: int,
        make_image: Callable[[], Awaitable[Image]], known: Epoch = NOBODY,
    ) -> None:  # fmt: skip
        self._loop = asyncio.get_running_loop()
        identity = secrets.token_hex(8)
        self._members = Members(tls=tls, identity=identity, config=config, listener=self)
        scan = partial(find_end, segment_size=segment_size)
        self._core = Writer(config=config, owner=identity, lease=lease, scan=scan, now=self._loop.time(), known=known)
        self._drain = Drain(self._core.effects, self._carry_out)
        self.elected: asyncio.Future[Elected] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.ended.add_done_callback(lambda ended: ended.exception())
        self.on_durable: Callable[[Lsn], None] = _nobody
        self.waiting = ""  # why the campaign has not succeeded yet
        self.image: Image | None = None  # made by this reign
        self.creating = False  # a volume
        self._make_image = make_image
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._announcer: asyncio.TimerHandle | None = None
        self._announce_at: float | None = None  # what `_announcer` is set to
        self._closed = False
        self._lane: ReignLane | None = None
        self._lending: asyncio.Handle | None = None

    def start(self) -> None:
        """Begin to connect and to campaign."""
        self._members.start()
        self._tick()

    @property
    def epoch(self) -> Epoch:
        """The epoch campaigned for or owned."""
        return self._core.epoch

    @property
    def durable(self) -> Lsn:
        """D as it is now, whoever has moved it; 0 until elected."""
        self.reclaim()
        return self._core.durable

    @property
    def standings(self) -> tuple[Standing, ...]:
        """How each member does in the reign, as it is now."""
        self.reclaim()
        return self._core.standings(self._loop.time())

    @property
    def horizon(self) -> Lsn | None:
        """The end of the log for which four members have room; None: too few have said."""
        return self._core.horizon

    @property
    def room(self) -> int:
        """How many bytes may be offered now."""
        return self._core.room

    def offer(self, lsn: Lsn, data: bytes) -> None:
        """Take WAL of the reign; from a log writer that is not lent."""
        self._core.offer(lsn, data, self._loop.time())
        self._after()

    def attach(self, writer: LogWriter) -> None:
        """Tell D to the log writer, which offers WAL; both go the short way where there is the native library."""
        self.on_durable = writer.durable
        fan = self._members.fan
        if fan is not None and not self._closed:
            self._lane = ReignLane(
                fan.library,
                core=self._core,
                members=self._members,
                sender=fan.sender,
                writer=writer,
                reclaim=self.reclaim,
            )

    def reclaim(self) -> None:
        """Take back what was lent; it is lent again as soon as nothing else is to be done."""
        if self._lane is None or not self._lane.lent:
            return
        try:
            self._lane.take(self._loop.time())
        except Exception as error:
            log.exception(REFUSED)
            self.end(f"{REFUSED}: {error}")
        self._after()

    def _lend_soon(self) -> None:
        if self._lane is not None and self._lending is None:
            self._lending = self._loop.call_soon(self._lend)

    def _lend(self) -> None:
        self._lending = None
        if self._lane is not None and not self._lane.lent and not self.ended.done():
            self._lane.lend()

    def configure(self, config: VolumeConfig) -> None:
        """Keep the higher configuration."""
        self.reclaim()
        self._core.configure(config)
        self._members.configure(config)

    def end(self, reason: str, cause: Cause = Cause.OTHER) -> None:
        """Say that the attempt or the reign is over, also for reasons on our side."""
        if not self.ended.done():
            self.ended.set_exception(ReignEnded(reason, cause))

    async def aclose(self, *, resign: bool) -> None:
        """Leave, after PostgreSQL has stopped; with `resign` the next candidate need not wait for the lease."""
        if self._closed:
            return
        self.reclaim()
        if self._lane is not None:
            self._lane.close()
            self._lane = None
        if resign:
            self._core.resign(self._loop.time())
            self._after()
            await asyncio.sleep(FAREWELL_S)
        self._closed = True
        for timer in (self._timer, self._announcer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._members.aclose()

    # --- net.members.Listener ---------------------------------------------------------------------------------

    def connected(self, member: MemberId) -> None:
        """A connection stands."""
        self._input(lambda now: self._core.connected(member, now))

    def disconnected(self, member: MemberId) -> None:
        """A connection is gone."""
        self._input(lambda now: self._core.disconnected(member, now))

    def received(self, member: MemberId, envelope: Envelope) -> None:
        """A message came."""
        if self._closed:
            return
        self.reclaim()
        try:
            self._core.receive(member, envelope, self._loop.time())
        except Exception as error:
            log.exception(REFUSED)
            self.end(f"{REFUSED}: {error}")
        self._after()

    def configured(self, config: VolumeConfig) -> None:
        """A node knew a higher configuration."""
        self._input(lambda now: self._core.configure(config))

    # --- effects ----------------------------------------------------------------------------------------------

    def _input(self, give: Callable[[float], None]) -> None:
        if self._closed:
            return
        self.reclaim()
        try:
            give(self._loop.time())
        except Exception as error:
            log.exception(REFUSED)
            self.end(f"{REFUSED}: {error}")
        self._after()

    def _tick(self) -> None:
        self._input(self._core.tick)
        if not self._closed:
            self._timer = self._loop.call_at(self._core.next_deadline(), self._tick)

    def _after(self) -> None:
        """Do what follows from an input."""
        self._drain.run()
        self._lend_soon()
        announce_at = self._core.announce_at
        if announce_at != self._announce_at:
            self._set_announcer(announce_at)

    def _carry_out(self, effects: list[WriterEffect]) -> None:
        if len(effects) > 1 and (same := _same_append(effects)):
            self._members.send_appends(same)
        else:
            for effect in effects:
                self._do(effect)

    def _set_announcer(self, when: float | None) -> None:
        if self._announcer is not None:
            self._announcer.cancel()
        self._announce_at = when
        self._announcer = None if when is None or self._closed else self._loop.call_at(when, self._announce)

    def _announce(self) -> None:
        self._announcer, self._announce_at = None, None
        self._input(lambda now: self._core.announce())

    def _do(self, effect: WriterEffect) -> None:
        match effect:
            case SendTo():
                self._members.send(effect.member, effect.message)
            case DurableAdvanced():
                self.on_durable(effect.lsn)
            case Reconnect():
                self._members.disconnect(effect.member, effect.reason)
            case Waiting():
                self._wait(effect)
            case NeedImage():
                self.creating = True
                self.spawn(self._provide_image())
            case Elected():
                if not self.elected.done():
                    self.elected.set_result(effect)
            case Fenced():
                self.end(f"fenced: {effect.reason}", Cause.FENCED)
            case LeaseLost():
                self.end(f"lease lost: {effect.reason}", Cause.LEASE_LOST)
            case ConfigLearned():
                self._members.configure(effect.config)
            case _:
                assert_never(effect)

    def spawn(self, work: Awaitable[None]) -> None:
        """Do something beside the reign; its failure by surprise ends the reign."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A task that failed by surprise ends the attempt: nobody else would learn of it."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task failed", exc_info=error)
            self.end(f"{type(error).__name__}: {error}")

    def _wait(self, waiting: Waiting) -> None:
        """Go on with the campaign, unless another owner lives: then the one who asked for it was mistaken."""
        if not self.waiting:
            log.info("not elected yet: %s", waiting.reason)
        self.waiting = waiting.reason
        if waiting.outlived:
            self.end(f"not elected: another owner lives; {waiting.reason}")

    # --- creation ---------------------------------------------------------------------------------------------

    async def _provide_image(self) -> None:
        try:
            image = self.image = self.image or await self._make_image()
        except PostgresError as error:
            self.end(f"image 0 cannot be made: {error}")
            return
        log.info("made image %s", image.digest)
        description = image.head.description
        extent = ImageExtent(start=description.wal_start, end=description.wal_end)
        self._input(lambda now: self._core.image_made(image.digest, extent, now))
        for member in self._members.config.members:
            self.spawn(self._upload(member.id, image))

    async def _upload(self, member: MemberId, image: Image) -> None:
        while not self.ended.done():
            with suppress(NetError):
                await self._members.put_image(
                    member, image=image.digest, size=len(image.blob), pieces=_pieces(image.blob)
                )
                self._input(lambda now: self._core.image_stored(member, now))
                return
            await asyncio.sleep(RETRY_S)


def _same_append(effects: list[WriterEffect]) -> list[tuple[MemberId, Append]]:
    """Give the appends if the effects are one piece of log for many and nothing else, as with nearly every commit."""
    appends, first = list[tuple[MemberId, Append]](), None
    for effect in effects:
        if type(effect) is not SendTo or type(effect.message) is not Append:
            return []
        append = effect.message
        first = append if first is None else first
        if append.data is not first.data or append.lsn != first.lsn or append.durable != first.durable:
            return []
        appends.append((effect.member, append))
    return appends if first is not None and first.data else []


def _nobody(lsn: Lsn) -> None:
    """D is of interest once the log writer runs."""


async def _pieces(blob: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(blob), UPLOAD_PIECE):
        yield blob[at : at + UPLOAD_PIECE]
