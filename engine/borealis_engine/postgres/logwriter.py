"""The log writer's hand in PostgreSQL: its one synchronous standby, which takes WAL and reports what is durable.

The invariant: no position is ever reported but D, as the volume's quorum made it; so a COMMIT is released by four
storage nodes and by nothing else. The status goes out at each advance of D and every STATUS_S besides, for a
walsender that reached its streaming state after the last one would not release anybody (walsender.c).

Commits of many clients gather (postgres.gathering), so that they cost the volume a few large appends instead of many
small ones; what is large already never waits.
"""

import asyncio
import time
from pathlib import Path
from typing import Final, Protocol, cast

from borealis_engine import native
from borealis_engine.contract.names import SUPERUSER
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.postgres.crowd import Crowd
from borealis_engine.postgres.errors import ServerDied
from borealis_engine.postgres.gathering import Gathering
from borealis_engine.postgres.latency import Latency
from borealis_engine.postgres.settings import STANDBY_NAME
from borealis_engine.postgres.sql import Door
from borealis_engine.proto.pgwire import WireError
from borealis_engine.proto.walreceiver import Phase, WalReceiver

STATUS_S: Final = 0.1
ENOUGH: Final = 128 * 1024  # bytes that wait for nothing but room


class Sink(Protocol):
    """Where WAL goes: the reign."""

    @property
    def room(self) -> int:
        """How many bytes may be offered now."""

    def offer(self, lsn: Lsn, data: bytes) -> None:
        """Take the next bytes."""

    def reclaim(self) -> None:
        """Have `LogWriter.take_back` called, should the writer be lent."""


class LogWriter(asyncio.Protocol):
    """One connection to the slot of the promoted PostgreSQL. `ended` completes, with an error, when it is over."""

    def __init__(
        self, sink: Sink, *, start: Lsn, timeline: Epoch, options: str = "", latency: Latency | None = None,
        held: bool = False,
    ) -> None:  # fmt: skip
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receiver = WalReceiver(
            user=SUPERUSER,
            name=STANDBY_NAME,
            slot=STANDBY_NAME,
            start=start,
            timeline=timeline,
            options=options,
            held=held,
        )
        self._sink = sink
        self._latency = latency or Latency()
        self._offered = start
        self._waiting = bytearray()
        self._gathering = Gathering(Crowd())
        self._held: asyncio.TimerHandle | None = None  # ends the gathering
        self._paused = False
        self._durable = start
        self._transport: asyncio.Transport | None = None
        self._socket = -1  # its descriptor, where there is one
        self._broken = False  # the library has met the end of the connection
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(
        cls, door: Door, sink: Sink, *, start: Lsn, timeline: Epoch, latency: Latency | None = None, held: bool = False
    ) -> "LogWriter":
        """Connect; ServerDied if PostgreSQL does not listen. With `held` no WAL is asked for before `release`."""
        loop = asyncio.get_running_loop()
        path = str(Path(door.sockets, f".s.PGSQL.{door.port}"))

        def make() -> "LogWriter":
            options = f"{door.options} -c wal_sender_timeout=0"  # the agent judges its own connection
            return cls(sink, start=start, timeline=timeline, options=options, latency=latency, held=held)

        try:
            _, writer = await loop.create_unix_connection(make, path)
        except OSError as error:
            raise ServerDied(f"the log writer cannot connect: {error}") from error
        return writer

    @property
    def backend(self) -> int:
        """The process id of the walsender at the other end; 0 while unknown."""
        return self._receiver.backend

    async def connected(self) -> bool:
        """Return once PostgreSQL has let the log writer in, which gives it a place; False if it has not."""
        await asyncio.wait({self._ready, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        return not self.ended.done()

    def release(self) -> None:
        """Ask for WAL."""
        self._receiver.release()
        self._flush()

    @property
    def streaming(self) -> bool:
        """Whether PostgreSQL sends WAL."""
        return self._receiver.phase is Phase.STREAMING

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        if (sock := transport.get_extra_info("socket")) is not None:
            self._socket = sock.fileno()
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Pass WAL on, as far as there is room; the rest waits, and PostgreSQL with it."""
        try:
            wal = self._receiver.receive_data(data)
        except WireError as error:
            self._end(ServerDied(f"the log writer's stream broke: {error}"))
            return
        if self._receiver.phase is not Phase.STARTING and not self._ready.done():
            self._ready.set_result(None)
        if self._receiver.reply_requested:
            self._report()
        if wal:
            self._waiting += wal
            self._gathering.came()
        self._pass_on()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """PostgreSQL is gone, or we closed."""
        self._end(ServerDied(f"PostgreSQL ended the log writer's stream: {exc or 'closed'}"))

    def durable(self, lsn: Lsn) -> None:
        """Report D, which releases commits, and take more if there is room again."""
        self._durable = max(self._durable, lsn)
        now = time.monotonic()
        self._gathering.landed(lsn, now)
        self._latency.durable(lsn, now)
        self._report()
        if self._waiting:
            self._pass_on()

    def close(self) -> None:
        """End the stream."""
        self._sink.reclaim()
        if self._transport is not None:
            self._transport.abort()

    # --- lent to the native library (postgres.reign_lane) ---------------------------------------------------------

    @property
    def lendable(self) -> bool:
        """Whether PostgreSQL sends WAL, and has been sent all that was to be."""
        transport = self._transport
        open = transport is not None and not transport.is_closing() and not transport.get_write_buffer_size()
        return open and self._socket >= 0 and not self._broken and self.streaming

    def describe(self, state: native.ReignState) -> tuple[bytes, bytes]:
        """Fill in what the library needs to know; give the WAL that waits, and the beginning of a message."""
        state.end, state.reported, state.reply = self._offered + len(self._waiting), self._durable, 0
        state.postgres, state.postgres_code = self._socket, 0
        state.bytes, state.seconds = 0, 0.0
        state.counts = type(state.counts)()
        self._gathering.describe(state)
        return bytes(self._waiting), self._receiver.surrender()

    def keep(self, rest: bytes) -> None:
        """The library has declined: `rest` is the beginning of a message."""
        self._receiver.go_on(self._receiver.position, rest)

    def lend(self) -> None:
        """Leave everything to the library, which has taken what `describe` told it."""
        self._set_held(None)
        self._waiting.clear()
        self._read(False)

    def take_back(self, state: native.ReignState, waiting: bytes, rest: bytes) -> None:
        """Go on from where the library has come to; `rest` is what PostgreSQL sent and nobody looked at."""
        self._offered, self._waiting = Lsn(state.offered), bytearray(waiting)
        self._durable = max(self._durable, Lsn(state.durable))
        self._broken = state.postgres_code == native.BROKEN
        self._receiver.go_on(Lsn(state.end), rest)
        self._gathering.take_back(state)
        self._latency.take_back(state)
        self._read(len(self._waiting) < ENOUGH)
        asyncio.get_running_loop().call_soon(self._resume, state.postgres_code == native.OTHER)

    def _resume(self, look: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if look:
            self.data_received(b"")
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        """Offer what waits, as far as there is room and it need not gather; have PostgreSQL wait if it is much."""
        now, waiting = time.monotonic(), len(self._waiting)
        hold = 0.0 if waiting >= ENOUGH else self._gathering.hold(now)
        if waiting and hold:
            self._set_held(hold)
        elif waiting and hold is not None and (room := self._sink.room) > 0:
            self._set_held(None)
            self._offer(bytes(memoryview(self._waiting)[:room]), now)
        self._read(len(self._waiting) < ENOUGH)

    def _offer(self, data: bytes, now: float) -> None:
        del self._waiting[: len(data)]
        lsn, self._offered = self._offered, Lsn(self._offered + len(data))
        self._latency.offered(self._offered, len(data), now)
        self._gathering.left(self._offered, now)
        self._sink.offer(lsn, data)

    def _set_held(self, seconds: float | None) -> None:
        if self._held is not None and seconds is None:
            self._held.cancel()
            self._held = None
        elif self._held is None and seconds is not None:
            self._held = asyncio.get_running_loop().call_later(seconds, self._gathered)

    def _gathered(self) -> None:
        self._held = None
        self._pass_on()

    def _read(self, wanted: bool) -> None:
        """Let PostgreSQL send, or wait."""
        if self._paused == wanted and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading() if wanted else self._transport.pause_reading()
            self._paused = not wanted

    def _report(self) -> None:
        self._receiver.status(self._durable, time.time())
        self._flush()

    def _tick(self) -> None:
        self._sink.reclaim()
        self._report()
        self._timer = asyncio.get_running_loop().call_later(STATUS_S, self._tick)

    def _flush(self) -> None:
        if self._transport is not None and (data := self._receiver.data_to_send()):
            self._transport.write(data)

    def _end(self, error: ServerDied) -> None:
        self._sink.reclaim()
        for timer in (self._timer, self._held):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # whoever waits sees it; nobody needs to
