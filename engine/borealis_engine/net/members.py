"""The client side of the log protocol: one standing connection to every member of the volume, and to who is joining.

It reconnects for as long as it runs, follows addresses as configurations change, and adopts a higher configuration
that a node sends with a refusal. Invariant: for each member the listener hears connected, then messages, then
disconnected, in this order, and never a message of an older connection after a newer one was reported.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from typing import Protocol

from borealis_engine.contract.volume import Epoch, Lsn, Member, MemberId, VolumeConfig
from borealis_engine.core.messages import Append, Envelope, Feed, ImageData, LogData, Message, Refused
from borealis_engine.core.standing import Hearsay, is_news, told
from borealis_engine.net import requests
from borealis_engine.net.channel import Channel, Endpoint
from borealis_engine.net.dial import dial
from borealis_engine.net.errors import Disconnected, NetError
from borealis_engine.net.fan import Fan
from borealis_engine.net.tls import Tls
from borealis_engine.net.wire_transport import WireTransport

BACKOFF_FIRST_S = 0.1
BACKOFF_LAST_S = 1.0


class Listener(Protocol):
    """Who drives the members, usually the shell around core.writer.Writer."""

    def connected(self, member: MemberId) -> None:
        """A connection stands; what was sent before may be lost."""

    def disconnected(self, member: MemberId) -> None:
        """The connection is gone."""

    def received(self, member: MemberId, envelope: Envelope) -> None:
        """A message came."""

    def configured(self, config: VolumeConfig) -> None:
        """A node knew a higher configuration; it is in force here now."""


class Members:
    """Standing connections to all members; `start` begins, `aclose` ends."""

    def __init__(self, *, tls: Tls, identity: str, config: VolumeConfig, listener: Listener | None = None) -> None:
        self._config = config
        self._listener = listener
        self._endpoint = Endpoint(tls=tls, identity=identity, generation=lambda: self._config.generation)
        self._hearsay = Hearsay()
        self._lines: dict[MemberId, _Line] = {}
        self._fan: Fan | None = None

    @property
    def config(self) -> VolumeConfig:
        """Give the configuration in force."""
        return self._config

    @property
    def connected(self) -> frozenset[MemberId]:
        """Give the members that a connection stands to."""
        return frozenset(id for id, line in self._lines.items() if line.channel is not None)

    def start(self) -> None:
        """Begin to connect; needs a running loop and a listener."""
        if (wire := self._endpoint.tls.wire) is not None:
            self._fan = Fan(wire.library, self._endpoint.identity)
        self._follow()

    def configure(self, config: VolumeConfig) -> VolumeConfig:
        """Adopt the configuration if it is higher; give the one in force."""
        if is_news(config, self._config):
            self._config = config
            if self._lines:
                self._follow()
        return self._config

    def send(self, member: MemberId, message: Message) -> bool:
        """Queue a message on the standing connection; False (and nothing sent) when there is none."""
        line = self._lines.get(member)
        if line is None or line.channel is None:
            return False
        line.channel.send(message)
        return True

    def send_appends(self, appends: Sequence[tuple[MemberId, Append]]) -> None:
        """Send one piece of log to many members; their appends differ in stream and beat alone."""
        able, transports = list[tuple[Channel, Append]](), list[WireTransport]()
        for member, append in appends:
            line = self._lines.get(member)
            if line is not None and line.channel is not None:
                able.append((line.channel, append))
                if isinstance(transport := line.channel.transport, WireTransport):
                    transports.append(transport)
        if self._fan is None or len(transports) != len(able):
            for channel, append in able:
                channel.send(append)
        elif transports:
            self._fan.send(transports, [append for _, append in able], self._config.generation)
            for channel, _ in able:
                channel.check_backlog()

    @property
    def fan(self) -> Fan | None:
        """Give who sends appends to many at once; None without the native library."""
        return self._fan

    def transport(self, member: MemberId) -> asyncio.Transport | None:
        """Give the standing connection's transport."""
        line = self._lines.get(member)
        return line.channel.transport if line is not None and line.channel is not None else None

    def disconnect(self, member: MemberId, reason: str) -> None:
        """Drop the standing connection; it is made anew at once."""
        line = self._lines.get(member)
        if line is not None and line.channel is not None:
            line.channel.close(reason)

    async def aclose(self) -> None:
        """Drop all connections."""
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            await line.aclose()

    def member(self, id: MemberId) -> Member:
        """Give the member of that id; Disconnected if the configuration has none."""
        for member in self._config.everyone:
            if member.id == id:
                return member
        raise Disconnected(f"member {id} is not in generation {self._config.generation}")

    def read_log(self, id: MemberId, *, start: Lsn, upto: Lsn, epoch: Epoch) -> AsyncGenerator[LogData, None]:
        """See requests.read_log; wrap in contextlib.aclosing when the iteration may end early."""
        return requests.read_log(self._endpoint, self.member(id), start=start, upto=upto, epoch=epoch)

    async def read_log_bytes(self, id: MemberId, *, start: Lsn, upto: Lsn, epoch: Epoch) -> bytes:
        """See requests.read_log_bytes."""
        return await requests.read_log_bytes(self._endpoint, self.member(id), start=start, upto=upto, epoch=epoch)

    def subscribe(self, id: MemberId, *, start: Lsn) -> AsyncGenerator[Feed, None]:
        """See requests.subscribe; wrap in contextlib.aclosing."""
        return requests.subscribe(self._endpoint, self.member(id), start=start)

    def get_image(self, id: MemberId, image: str) -> AsyncGenerator[ImageData, None]:
        """See requests.get_image."""
        return requests.get_image(self._endpoint, self.member(id), image)

    async def put_image(self, id: MemberId, *, image: str, size: int, pieces: AsyncIterable[bytes]) -> None:
        """See requests.put_image."""
        await requests.put_image(self._endpoint, self.member(id), image=image, size=size, pieces=pieces)

    def _follow(self) -> None:
        """Make the lines those of the configuration: gone and moved ones end, new ones begin."""
        wanted = {member.id: member for member in self._config.everyone}
        for id, line in list(self._lines.items()):
            if wanted.get(id) is None or wanted[id].address != line.member.address:
                self._lines.pop(id).end()
        for id, member in wanted.items():
            if id not in self._lines:
                self._lines[id] = _Line(self, member)

    def learn(self, envelope: Envelope) -> None:
        """Adopt the configuration that comes with a refusal, if it is news and may be believed."""
        message = envelope.message
        if not isinstance(message, Refused):
            return
        offered = told(message)
        if offered is not None and self._hearsay.believe(offered, self._config, envelope.sender):
            self.configure(offered)
            if self._listener is not None:
                self._listener.configured(self._config)

    @property
    def endpoint(self) -> Endpoint:
        """Give who we are on connections, for requests to nodes outside of this class."""
        return self._endpoint

    @property
    def listener(self) -> Listener | None:
        """Give who hears of connections and messages."""
        return self._listener


class _Line:
    """The standing connection to one member at one address."""

    def __init__(self, members: Members, member: Member) -> None:
        self.member = member
        self.channel: Channel | None = None
        self._members = members
        self._ended = False
        self._gone = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"line to {member.name}")

    def opened(self, channel: Channel, role: str) -> None:
        """Report the member as connected, unless the line ended while the handshake was under way."""
        if self._ended:
            channel.close("the configuration changed")
            return
        self.channel = channel
        if self._members.listener is not None:
            self._members.listener.connected(self.member.id)

    def received(self, channel: Channel, envelope: Envelope) -> None:
        """Pass a message on, after what it says of the configuration."""
        if channel is not self.channel:
            return
        if isinstance(envelope.message, Refused):
            self._members.learn(envelope)
        if self._members.listener is not None and not self._ended:
            self._members.listener.received(self.member.id, envelope)

    def closed(self, channel: Channel, reason: str) -> None:
        """Report the member as disconnected and let the line connect again."""
        if channel is not self.channel:
            return
        self.channel = None
        self._gone.set()
        if self._members.listener is not None:
            self._members.listener.disconnected(self.member.id)

    def end(self) -> None:
        """Drop the connection, reporting it, and do not connect again."""
        self._ended = True
        self._task.cancel()
        if self.channel is not None:
            channel = self.channel
            channel.close("the configuration changed")
            self.closed(channel, "the configuration changed")

    async def aclose(self) -> None:
        """End, and wait for the task."""
        self.end()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop, backoff = asyncio.get_running_loop(), BACKOFF_FIRST_S
        while True:
            began = loop.time()
            try:
                self._gone.clear()
                await dial(self._members.endpoint, self, self.member)
                await self._gone.wait()
            except NetError:
                pass  # the status of who listens shows that the member is missing; the next attempt follows
            if loop.time() - began > BACKOFF_LAST_S:
                backoff = BACKOFF_FIRST_S
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, BACKOFF_LAST_S)
