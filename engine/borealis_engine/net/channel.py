"""One connection of the log protocol, either side: bytes in, envelopes out, over mTLS.

Invariant: envelopes reach the receiver whole, in order, and only after the peer's role was accepted; after `closed`
was told nothing more is. A peer that reads too slowly is dropped rather than buffered without end, since it can catch
up from the log.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from borealis_engine.core.messages import Envelope, Message
from borealis_engine.net.errors import PeerRejected
from borealis_engine.net.tls import Tls
from borealis_engine.proto.errors import ProtocolError
from borealis_engine.proto.frames import Decoder, encode

BACKLOG_LIMIT = 64 << 20  # bytes unsent to one peer before it is dropped
HIGH_WATER = 4 << 20  # bytes unsent before `drain` waits
LOW_WATER = 1 << 20
JOIN_BELOW = 16 * 1024  # bytes of data that are copied to leave with their header: what a TLS record holds
USER_TIMEOUT_MS = 5000  # unacknowledged bytes for so long end a connection


class Receiver(Protocol):
    """What a channel tells its owner."""

    def opened(self, channel: "Channel", role: str) -> None:
        """The handshake is done and the role accepted."""

    def received(self, channel: "Channel", envelope: Envelope) -> None:
        """An envelope arrived."""

    def closed(self, channel: "Channel", reason: str) -> None:
        """The connection is over; told once, and only after `opened`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Who we are on a connection: our identity, and the generation we know when a message leaves."""

    tls: Tls
    identity: str
    generation: Callable[[], int]


class Channel(asyncio.Protocol):
    """The asyncio protocol of one connection."""

    def __init__(self, endpoint: Endpoint, receiver: Receiver, *, roles: Sequence[str], peer: str = "") -> None:
        self._endpoint = endpoint
        self._receiver = receiver
        self._roles = roles
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._opened = False
        self._reason = ""
        self.peer = peer  # the member that we mean to speak to, when we dialled

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the peer by its certificate, or close."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        tune(transport.get_extra_info("socket"))
        try:
            role = self._role(transport)
        except PeerRejected as error:
            self.close(str(error))
            return
        self._opened = True
        self._receiver.opened(self, role)

    def _role(self, transport: asyncio.BaseTransport) -> str:
        names = transport.get_extra_info("uris")
        if names is not None:
            return self._endpoint.tls.require_uris(names, *self._roles)
        return self._endpoint.tls.require(transport.get_extra_info("ssl_object"), *self._roles)

    @property
    def between_frames(self) -> bool:
        """Whether what comes next begins a frame."""
        return not self._decoder.pending

    def answered(self, envelopes: Sequence[Envelope]) -> None:
        """Pass on acks that the transport has read itself."""
        for envelope in envelopes:
            if not self._opened or self._reason:
                return
            self._receiver.received(self, envelope)

    def data_received(self, data: bytes) -> None:
        """Pass on the envelopes that became whole."""
        if not self._opened or self._reason:
            return
        try:
            envelopes = self._decoder.receive_data(data)
        except ProtocolError as error:
            self.close(str(error))
            return
        for envelope in envelopes:
            if self._reason:
                return
            self._receiver.received(self, envelope)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner once."""
        self._transport = None
        self._writable.set()
        self._reason = self._reason or (str(exc) if exc else "closed by the peer")
        if self._opened:
            self._receiver.closed(self, self._reason)

    def pause_writing(self) -> None:
        """The peer reads slower than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._writable.set()

    @property
    def open(self) -> bool:
        """Tell whether sending makes sense."""
        return self._opened and not self._reason and self._transport is not None

    @property
    def reason(self) -> str:
        """Say why the channel closed; empty while it is open."""
        return self._reason

    def send(self, message: Message) -> None:
        """Queue a message; on a closed channel it is dropped, as a network would."""
        if not self.open or self._transport is None:
            return
        endpoint = self._endpoint
        buffers = encode(message, endpoint.generation(), endpoint.identity, self.peer)
        if len(buffers) > 1 and len(buffers[1]) < JOIN_BELOW:
            self._transport.write(b"".join(buffers))  # one TLS record instead of two
        else:
            self._transport.writelines(buffers)
        self.check_backlog()

    def check_backlog(self) -> None:
        """Drop a peer for which too much is unsent."""
        if self._transport is not None and self._transport.get_write_buffer_size() > BACKLOG_LIMIT:
            self.close("the peer does not read")

    @property
    def transport(self) -> asyncio.Transport | None:
        """Give what it is sent by; None once it is over."""
        return self._transport if self.open else None

    async def drain(self) -> None:
        """Wait until the peer has read enough of what was sent, or the channel is closed."""
        await self._writable.wait()

    def pause_reading(self) -> None:
        """Let the peer wait until `resume_reading`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, reason: str) -> None:
        """Drop the connection at once, unsent bytes included; closing twice is harmless."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()


def tune(sock: socket.socket | None) -> None:
    """Send small messages at once, and notice a peer that is gone."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
