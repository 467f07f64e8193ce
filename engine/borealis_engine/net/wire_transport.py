"""An asyncio transport over the native library's TLS, for the dialling side of the log protocol.

Acks, which are nearly all that comes to a writer, are read by the library. A transport may be lent to it whole
(postgres.reign_lane): the library then listens and sends, until it is taken back. It is taken back before it ends.
"""

import asyncio
import ctypes
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from borealis_engine import native
from borealis_engine.contract.volume import Epoch, Generation, Lsn
from borealis_engine.core.messages import Ack, Envelope
from borealis_engine.net.errors import Disconnected
from borealis_engine.net.wire import CHUNK, Contexts, Wire, identity
from borealis_engine.proto.bodies import Buffer


class Talker(Protocol):
    """The protocol on a transport: net.channel.Channel."""

    peer: str

    @property
    def between_frames(self) -> bool:
        """Whether what comes next begins a frame."""

    def answered(self, envelopes: Sequence[Envelope]) -> None:
        """Acks came."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio.Protocol, like the rest."""

    def data_received(self, data: bytes) -> None:
        """Bytes came."""

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""

    def pause_writing(self) -> None:
        """Much is unsent."""

    def resume_writing(self) -> None:
        """Little is."""


async def connect(contexts: Contexts, talker: Talker, host: str, port: int) -> "WireTransport":
    """Connect and shake hands; OSError or Disconnected if that fails. The caller bounds the time."""
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        wire = Wire(contexts, sock, server=False)
        names = await _shake_hands(loop, sock, wire)
    except BaseException:
        sock.close()
        raise
    return WireTransport(loop, sock, wire, talker, names)


async def _shake_hands(loop: asyncio.AbstractEventLoop, sock: socket.socket, wire: Wire) -> list[str]:
    while True:
        names = wire.handshake()
        if names is not None:
            return names
        readable = loop.create_future()
        loop.add_reader(sock, _set, readable)
        try:
            await readable
        finally:
            loop.remove_reader(sock)


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class WireTransport(asyncio.Transport):
    """One connection whose handshake is done; its protocol hears of it at once."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, wire: Wire, talker: Talker, names: list[str]
    ) -> None:
        super().__init__({"socket": sock, "uris": names})
        self.wire = wire
        self._loop, self._sock, self._talker = loop, sock, talker
        self.member = identity(talker.peer)
        self._acks, self._code = (native.FanAck * native.ACKS)(), ctypes.c_int()
        self._code_at = ctypes.byref(self._code)
        self._high, self._low = 1 << 20, 1 << 18
        self._reclaim: Callable[[], None] | None = None  # while it is lent
        self._closing = self._writing = self._held_back = self._paused = False
        talker.connection_made(self)
        if not self._closing:
            loop.add_reader(sock, self._readable)

    # --- lent -----------------------------------------------------------------------------------------------------

    @property
    def lendable(self) -> bool:
        """Whether a frame begins next, and nothing stands in the way."""
        return not self._closing and not self._paused and self._talker.between_frames

    def lend(self, reclaim: Callable[[], None]) -> None:
        """Hear nothing until `take_back`; `reclaim` has it called, should the connection end before."""
        self._reclaim = reclaim
        self._loop.remove_reader(self._sock)

    def take_back(self, code: int) -> None:
        """Listen again, after the library met with `code` (native.LATER: nothing but acks)."""
        self._reclaim = None
        if self._closing:
            return
        self._loop.add_reader(self._sock, self._readable)
        if self.wire.library.wire_pending(self.wire.pointer):
            self._write_later()
        if code == 1:
            self._loop.call_soon(self._readable)
        elif code != native.LATER:
            self._loop.call_soon(self._came, code)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        more = True
        while more and not self._closing and not self._paused:
            more = self._read_acks() if self._talker.between_frames else self._read_bytes()

    def _read_acks(self) -> bool:
        """Take acks; True if there is something else, or may be."""
        count = self.wire.library.fan_acks(self.wire.pointer, bytes(self.member), self._acks, self._code_at)
        for ack in self._acks[:count]:
            told = Ack(Epoch(ack.epoch), Lsn(ack.flush), ack.beat, bool(ack.feeding))
            self._talker.answered((Envelope(Generation(ack.generation), self._talker.peer, "", told),))
        return self._came(self._code.value)

    @property
    def fileno(self) -> int:
        """Give the socket's number."""
        return self._sock.fileno()

    def _read_bytes(self) -> bool:
        return self._came(self.wire.library.wire_receive(self.wire.pointer))

    def _came(self, code: int) -> bool:
        """Pass on bytes that came; True if more may be there."""
        if code == native.LATER:
            return False
        if code != 1:
            self._fail(Disconnected(self.wire.reason(code)))
            return False
        more = False
        while not self._closing and (data := self.wire.take()):
            more = more or len(data) == CHUNK
            self._talker.data_received(data)
        return more

    def pause_reading(self) -> None:
        """Let the peer wait."""
        if not self._paused and not self._closing:
            self._paused = True
            self._loop.remove_reader(self._sock)

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._paused and not self._closing:
            self._paused = False
            self._loop.add_reader(self._sock, self._readable)
            self._loop.call_soon(self._readable)  # bytes may have been decrypted already

    # --- writing ---------------------------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        """Send, or keep what the socket does not take."""
        self.writelines((data,))

    def writelines(self, list_of_data: Any) -> None:
        """Send one or two buffers."""
        if not self._closing:
            self.sent(self.wire.send(list(list_of_data), socket.MSG_DONTWAIT))

    def sent(self, code: int) -> None:
        """Something was sent on the wire, with this result."""
        if code == native.LATER:
            self._write_later()
        elif code != 1:
            self._fail(Disconnected(self.wire.reason(code)))

    def _write_later(self) -> None:
        if self._closing:
            return
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._sock, self._writable)
        if not self._held_back and self.get_write_buffer_size() > self._high:
            self._held_back = True
            self._talker.pause_writing()

    def _writable(self) -> None:
        code = self.wire.library.wire_flush(self.wire.pointer)
        if code not in (1, native.LATER):
            self._fail(Disconnected(self.wire.reason(code)))
            return
        if code == 1:
            self._writing = False
            self._loop.remove_writer(self._sock)
        if self._held_back and self.get_write_buffer_size() <= self._low:
            self._held_back = False
            self._talker.resume_writing()

    def get_write_buffer_size(self) -> int:
        """Bytes that the socket has not taken."""
        return int(self.wire.library.wire_pending(self.wire.pointer)) if self._writing else 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set from where on the protocol is to pause writing, and when it may go on."""
        self._high = high if high is not None else self._high
        self._low = low if low is not None else self._high // 4

    # --- the end ---------------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Tell whether it is over, or about to be."""
        return self._closing

    def close(self) -> None:
        """End it at once; nothing unsent is worth waiting for."""
        self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        if self._closing:
            return
        self._closing = True
        if self._reclaim is not None:
            self._reclaim()
        self._loop.remove_reader(self._sock)
        if self._writing:
            self._loop.remove_writer(self._sock)
        self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        self._talker.connection_lost(error)
        self.wire.finish()
        with suppress(OSError):
            self._sock.close()
