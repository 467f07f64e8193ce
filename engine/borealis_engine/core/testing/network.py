"""Simulated connections: in order within one, anything between two; delayed, frozen, cut, now and then repeating.

A cut connection may still deliver what was sent before to a node: late packets of an older connection are real.
"""

from collections.abc import Callable
from typing import Protocol

from borealis_engine.core.effects import Conn
from borealis_engine.core.messages import Envelope, GetImage, Message, Read, Subscribe
from borealis_engine.core.testing.clockwork import Clockwork


class Server(Protocol):
    """A node's end."""

    name: str
    zone: str
    up: bool

    def accept(self, link: "Link") -> None: ...
    def request(self, link: "Link", envelope: Envelope) -> None: ...
    def hung_up(self, link: "Link") -> None: ...


class Client(Protocol):
    """The other end."""

    name: str

    def answer(self, link: "Link", envelope: Envelope) -> None: ...
    def lost(self, link: "Link") -> None: ...


class Network:
    """Delays and partitions between named ends."""

    def __init__(self, world: Clockwork) -> None:
        self.world = world
        self.blocked: set[tuple[str, str]] = set()
        self.delay = world.random.choice((0.001, 0.004, 0.02))
        self.repeats = world.random.random() < 0.3
        self.links: set[Link] = set()
        self.late: Callable[[Link, Message], float] | None = None  # when a message arrives at the earliest
        self._conns = 0

    def cut(self, one: str, other: str) -> bool:
        """Whether these two cannot reach each other."""
        return (one, other) in self.blocked or (other, one) in self.blocked

    def connect(self, client: Client, server: Server) -> "Link | None":
        """Give a connection, or None if that is impossible now."""
        if not server.up or self.cut(client.name, server.name):
            return None
        self._conns += 1
        link = Link(self, Conn(self._conns), client, server)
        self.links.add(link)
        server.accept(link)
        return link


class Link:
    """One connection."""

    __slots__ = (
        "_arrival",
        "broken",
        "client",
        "client_open",
        "conn",
        "frozen_until",
        "network",
        "server",
        "server_open",
    )

    def __init__(self, network: Network, conn: Conn, client: Client, server: Server) -> None:
        self.network, self.conn, self.client, self.server = network, conn, client, server
        self.client_open = self.server_open = True
        self.broken = False
        self.frozen_until = 0.0
        self._arrival = [0.0, 0.0]  # of the last thing under way to the server, to the client

    def to_server(self, envelope: Envelope) -> None:
        """Send a request."""
        if self.client_open:
            if self.network.late is not None:
                self._arrival[0] = max(self._arrival[0], self.network.late(self, envelope.message))
            self._schedule(0, self._at_server, envelope)
            if not self.network.repeats or isinstance(envelope.message, Read | Subscribe | GetImage):
                return  # those open a stream
            if self.network.world.random.random() < 0.01:
                self._schedule(0, self._at_server, envelope)

    def to_client(self, envelope: Envelope) -> None:
        """Send an answer."""
        if self.server_open:
            if self.network.late is not None:
                self._arrival[1] = max(self._arrival[1], self.network.late(self, envelope.message))
            self._schedule(1, self._at_client, envelope)

    def close(self) -> None:
        """End it from the client's side: what was sent before arrives, then the end does."""
        if self.client_open:
            self.client_open = False
            self._schedule(0, self._end_at_server)

    def hang_up(self) -> None:
        """End it from the server's side."""
        if self.server_open:
            self.server_open = False
            self._schedule(1, self._end_at_client)

    def break_off(self) -> None:
        """The network lost it: nothing arrives any more, and each end learns that some time."""
        if not self.broken:
            self.broken = True
            self._schedule(0, self._end_at_server)
            self._schedule(1, self._end_at_client)

    def _schedule(self, way: int, do: Callable[..., None], *args: object) -> None:
        network = self.network
        world = network.world
        when = world.now + world.random.random() * 2 * network.delay
        self._arrival[way] = when = max(when, self._arrival[way], self.frozen_until)
        world.at(when, do, *args)

    def _at_server(self, envelope: Envelope) -> None:
        if self._passes() and self.server_open:
            self.server.request(self, envelope)

    def _at_client(self, envelope: Envelope) -> None:
        if self._passes() and self.client_open:
            self.client.answer(self, envelope)

    def _passes(self) -> bool:
        network = self.network
        if network.blocked and network.cut(self.client.name, self.server.name):
            self.break_off()
        return not self.broken

    def _end_at_server(self) -> None:
        if self.server_open:
            self.server_open = False
            self.server.hung_up(self)
            self._schedule(1, self._end_at_client)
        self.network.links.discard(self)

    def _end_at_client(self) -> None:
        if self.client_open:
            self.client_open = False
            self.client.lost(self)
        self.network.links.discard(self)
