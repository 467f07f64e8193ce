"""One accepted connection of the log protocol: its own thread reads it, any thread may send on it.

A thread that waits in `recv`, writes, syncs and answers costs less than an event loop for the same append, and a commit
waits for four of them. Invariant: envelopes come whole, in order, and only from a peer whose role was
accepted; `send` never waits for a slow peer, only `send_bulk` does, and that only in the connection's own thread.
"""

import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from borealis_engine.contract.names import ROLE_STORAGE
from borealis_engine.core.messages import Envelope, GetImage, Message, Read, Refused
from borealis_engine.net.channel import Endpoint, tune
from borealis_engine.net.door import HANDSHAKE_S
from borealis_engine.net.errors import Disconnected, PeerRejected
from borealis_engine.proto.frames import Decoder, encode

SEND_S: Final = 30.0  # seconds in which a peer must take something of what is sent in bulk
TURN_S: Final = 0.2  # seconds that a small message waits behind another one on its connection
CHUNK: Final = 256 * 1024  # bytes taken from the socket at once
OF_MEMBERS: Final = (Read, GetImage, Refused)  # all that a storage node has to say to another one
RECORD: Final = 16 * 1024  # bytes of a TLS record


class Stream(ABC):
    """A connection under mutual TLS. `handshake`, `receive` and `finish` are for the thread that reads it."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint, roles: Sequence[str]) -> None:
        self._sock = sock
        self._endpoint = endpoint
        self._roles = roles
        self.role = ""  # of the peer, once the handshake is done
        self._decoder = Decoder()
        self.between_frames = True  # whether what comes next begins a frame
        self._reason = ""
        sock.setblocking(True)
        tune(sock)
        set_deadline(sock, socket.SO_SNDTIMEO, SEND_S)

    @property
    def open(self) -> bool:
        """Tell whether sending makes sense."""
        return not self._reason

    @property
    def reason(self) -> str:
        """Say why it closed; empty while it is open."""
        return self._reason

    @abstractmethod
    def handshake(self) -> None:
        """Learn who the peer is; PeerRejected if it may not speak here, Disconnected if it does not say in time."""

    @abstractmethod
    def receive(self) -> bytes:
        """Wait for bytes of frames; Disconnected when there are no more."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Send a small message at once; a peer that does not read is dropped. Nothing is sent once it is closed."""

    @abstractmethod
    def send_bulk(self, message: Message) -> None:
        """Send, waiting while the peer is slow; for the connection's own thread alone."""

    def decode(self, data: bytes) -> list[Envelope]:
        """Give the envelopes that `data` completes; ProtocolError for what is none, PeerRejected if not due."""
        envelopes = self._decoder.receive_data(data)
        if self.role == ROLE_STORAGE and not all(isinstance(each.message, OF_MEMBERS) for each in envelopes):
            raise PeerRejected("a storage node may read log and images here, and nothing else")
        self.between_frames = not self._decoder.pending
        return envelopes

    def close(self, reason: str) -> None:
        """End the connection, whoever waits on it included; closing twice is harmless."""
        self._reason = self._reason or reason
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Let go of the socket; for the connection's own thread, at its end."""
        self.close("closed")
        self._sock.close()


class TlsStream(Stream):
    """A connection by Python's TLS."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint, roles: Sequence[str]) -> None:
        super().__init__(sock, endpoint, roles)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = endpoint.tls.server.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._lock = threading.Lock()  # of the TLS state and of the order of what is sent
        self._chunk = memoryview(bytearray(CHUNK))

    def handshake(self) -> None:
        """Learn who the peer is; PeerRejected if it may not speak here, Disconnected if it does not say in time."""
        deadline = time.monotonic() + HANDSHAKE_S
        set_deadline(self._sock, socket.SO_RCVTIMEO, HANDSHAKE_S)
        try:
            while not self._shook_hands():
                if time.monotonic() > deadline:
                    raise Disconnected("no handshake in time")
                self._incoming.write(self._chunk[: self._receive()])
            self._flush()
        except OSError as error:  # ssl.SSLError is one
            with suppress(OSError):
                self._flush()  # the alert that says why
            raise Disconnected(f"handshake: {error}") from error
        set_deadline(self._sock, socket.SO_RCVTIMEO, 0)
        self.role = self._endpoint.tls.require(self._tls, *self._roles)

    def _shook_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        return True

    def receive(self) -> bytes:
        """Wait for bytes of frames; Disconnected when there are no more."""
        while not self._reason:
            if not self._incoming.pending:  # what came with the end of the handshake may lie there
                self._incoming.write(self._chunk[: self._receive()])
            with self._lock:
                data = self._decrypt()
            if data:
                return data
        raise Disconnected(self._reason)

    def _receive(self) -> int:
        try:
            size = self._sock.recv_into(self._chunk)
        except OSError as error:
            raise Disconnected(self._reason or str(error)) from error
        if not size:
            raise Disconnected(self._reason or "closed by the peer")
        return size

    def _decrypt(self) -> bytes:
        pieces = []
        try:
            while True:
                pieces.append(self._tls.read(RECORD))  # a record at a time, whole
                if not self._incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass  # the rest of a record is still to come
        except ssl.SSLError as error:
            raise Disconnected(str(error)) from error
        if self._outgoing.pending:
            self._answer()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _answer(self) -> None:
        """Send what TLS itself has to say, such as a change of keys."""
        try:
            self._flush()
        except OSError as error:
            raise Disconnected(str(error)) from error

    def send(self, message: Message) -> None:
        """Send a small message at once; a peer that does not read is dropped. Nothing is sent once it is closed."""
        if not self._lock.acquire(timeout=TURN_S):
            self.close("the peer does not read")
            return
        try:
            self._write(message, socket.MSG_DONTWAIT)
        finally:
            self._lock.release()

    def send_bulk(self, message: Message) -> None:
        """Send, waiting while the peer is slow; for the connection's own thread alone."""
        with self._lock:
            self._write(message, 0)

    def _write(self, message: Message, flags: int) -> None:
        if self._reason:
            return
        endpoint = self._endpoint
        try:
            for buffer in encode(message, endpoint.generation(), endpoint.identity):
                self._tls.write(buffer)
            self._sock.sendall(self._outgoing.read(), flags)
        except OSError as error:  # ssl.SSLError is an OSError
            self.close("the peer does not read" if isinstance(error, BlockingIOError) else str(error))

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._sock.sendall(data)


def set_deadline(sock: socket.socket, option: int, seconds: float) -> None:
    """Bound a blocking call by the kernel: a timeout of Python's own would cost a poll before each."""
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6)))
