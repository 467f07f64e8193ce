"""Making a connection to a storage node, and a conversation on one of its own for a single request.

Invariant: every wait has a deadline, and every way in which a connection can fail comes out as a NetError.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from borealis_engine.contract.names import ROLE_STORAGE
from borealis_engine.contract.volume import Member
from borealis_engine.core.messages import Envelope, Message, Refused
from borealis_engine.net import wire_transport
from borealis_engine.net.channel import Channel, Endpoint, Receiver
from borealis_engine.net.errors import Disconnected, PeerRejected, RequestRefused

CONNECT_S = 2.0
ANSWER_S = 5.0
QUEUE_HIGH = 8  # frames waiting to be taken before the peer is told to wait


async def dial(endpoint: Endpoint, receiver: Receiver, member: Member) -> Channel:
    """Connect to a storage node; Disconnected or PeerRejected if that does not succeed within CONNECT_S."""
    host, _, port = member.address.rpartition(":")
    if not host:
        raise Disconnected(f"{member.name} has no address yet")
    try:
        async with asyncio.timeout(CONNECT_S):
            channel = Channel(endpoint, receiver, roles=(ROLE_STORAGE,), peer=member.id)
            transport = await _connect(endpoint, channel, host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError) as error:  # ssl.SSLError is an OSError
        raise Disconnected(f"{member.name} at {member.address}: {error or 'no answer in time'}") from error
    if not channel.open:
        transport.abort()
        raise PeerRejected(f"{member.name} at {member.address}: {channel.reason}")
    return channel


async def _connect(endpoint: Endpoint, channel: Channel, host: str, port: int) -> asyncio.Transport:
    if endpoint.tls.wire is not None:
        return await wire_transport.connect(endpoint.tls.wire, channel, host, port)
    loop, context = asyncio.get_running_loop(), endpoint.tls.client
    transport, _ = await loop.create_connection(lambda: channel, host, port, ssl=context, server_hostname="")
    return transport


class Conversation:
    """One connection for one request: what arrives is taken in order, and the peer waits while we are slow."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._closed = ""
        self._channel: Channel | None = None

    def opened(self, channel: Channel, role: str) -> None:
        """Remember the channel."""
        self._channel = channel

    def received(self, channel: Channel, envelope: Envelope) -> None:
        """Queue a message."""
        self._queue.append(envelope.message)
        self._arrived.set()
        if len(self._queue) >= QUEUE_HIGH:
            channel.pause_reading()

    def closed(self, channel: Channel, reason: str) -> None:
        """Wake who waits."""
        self._closed = reason or "closed"
        self._arrived.set()

    async def send(self, message: Message) -> None:
        """Send, waiting while the peer is slow; Disconnected if it stays so for ANSWER_S."""
        if self._channel is None or not self._channel.open:
            raise Disconnected(self._closed or "not connected")
        self._channel.send(message)
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._channel.drain()
        except TimeoutError as error:
            raise Disconnected(f"the peer did not read for {ANSWER_S} s") from error

    async def receive(self, timeout: float = ANSWER_S) -> Message:
        """Take the next message; Disconnected at the end or after `timeout` seconds, RequestRefused on a refusal."""
        while not self._queue:
            if self._closed:
                raise Disconnected(self._closed)
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError as error:
                raise Disconnected(f"the peer was silent for {timeout} s") from error
        message = self._queue.popleft()
        if not self._queue and self._channel is not None:
            self._channel.resume_reading()
        if isinstance(message, Refused):
            raise RequestRefused(message)
        return message

    def close(self) -> None:
        """Drop the connection."""
        if self._channel is not None:
            self._channel.close("done")


@asynccontextmanager
async def converse(endpoint: Endpoint, member: Member) -> AsyncIterator[Conversation]:
    """Hold a connection of its own to a storage node for the time of the block."""
    conversation = Conversation()
    await dial(endpoint, conversation, member)
    try:
        yield conversation
    finally:
        conversation.close()
