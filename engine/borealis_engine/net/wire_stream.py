"""An accepted connection whose TLS and appends the native library does; otherwise as net.stream.

Its thread waits in the library, which takes appends from the socket to the disk and back while the lane is open, and
comes out with whatever else arrives.
"""

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from borealis_engine import native
from borealis_engine.core.effects import Conn
from borealis_engine.core.messages import Message
from borealis_engine.net.channel import Endpoint
from borealis_engine.net.door import HANDSHAKE_S
from borealis_engine.net.errors import Disconnected
from borealis_engine.net.lane import Lane
from borealis_engine.net.stream import TURN_S, Stream, set_deadline
from borealis_engine.net.wire import FOREVER, Contexts, Wire
from borealis_engine.proto.frames import encode

TURN_MS: Final = int(TURN_S * 1000)


class WireStream(Stream):
    """A connection under mutual TLS."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint, roles: Sequence[str], contexts: Contexts) -> None:
        super().__init__(sock, endpoint, roles)
        self._wire = Wire(contexts, sock, server=True)
        self._lane: Lane | None = None
        self._conn = Conn(0)
        self._moved: Callable[[], None] = _nothing
        self.error = 0  # errno of the append that was handed over

    def attach(self, lane: Lane, conn: Conn, moved: Callable[[], None]) -> None:
        """Let appends go the short way; `moved` is called when readers of this node should hear of a higher D."""
        self._lane, self._conn, self._moved = lane, conn, moved

    def handshake(self) -> None:
        """Learn who the peer is, as Stream does."""
        set_deadline(self._sock, socket.SO_RCVTIMEO, HANDSHAKE_S)
        names = self._wire.handshake()
        if names is None:
            raise Disconnected("no handshake in time")
        set_deadline(self._sock, socket.SO_RCVTIMEO, 0)
        self.role = self._endpoint.tls.require_uris(names, *self._roles)

    def receive(self) -> bytes:
        """Wait for bytes of frames that are Python's; b"" when the append that was handed over has an end."""
        while not self._reason:
            match code := self._wait():
                case native.BYTES:
                    return self._wire.take()
                case native.FEED:
                    self._moved()
                case native.HANDED:
                    return b""
                case _:
                    raise Disconnected(self._reason or self._wire.reason(code))
        raise Disconnected(self._reason)

    def _wait(self) -> int:
        if self._lane is None:
            got: int = self._wire.library.wire_receive(self._wire.pointer)
            return native.BYTES if got == 1 else got
        code, error = self._lane.serve(self._wire, self._conn, aligned=self.between_frames, wait_ms=TURN_MS)
        if code == native.HANDED:  # alone: another thread may read on meanwhile, and must not wipe it out
            self.error = error
        return code

    def send(self, message: Message) -> None:
        """Send a small message at once; a peer that does not read is dropped. Nothing is sent once it is closed."""
        self._write_out(message, socket.MSG_DONTWAIT, TURN_MS)

    def send_bulk(self, message: Message) -> None:
        """Send, waiting while the peer is slow; for the connection's own thread alone."""
        self._write_out(message, 0, FOREVER)

    def _write_out(self, message: Message, flags: int, wait_ms: int) -> None:
        if self._reason:
            return
        endpoint = self._endpoint
        code = self._wire.send(encode(message, endpoint.generation(), endpoint.identity), flags, wait_ms)
        if code != 1:
            self.close("the peer does not read" if code == native.LATER else self._wire.reason(code))

    def finish(self) -> None:
        """Let go of the socket; for the connection's own thread, at its end."""
        self.close("closed")
        self._wire.finish()
        with suppress(OSError):
            self._sock.close()


def _nothing() -> None:
    """Nobody follows yet."""
