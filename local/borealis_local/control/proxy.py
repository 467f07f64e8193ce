"""Services: each cluster address is a TCP proxy to the ready endpoints of its slices, in turn.

Without a ready endpoint nothing listens, so that a client is refused at once, as by kube-proxy. A connection to an
endpoint that is taken away is cut, so that nobody talks on to an old writer.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from borealis_local.machinery.resources import Group
from borealis_local.server.api import Api

log = logging.getLogger(__name__)
Object = Mapping[str, Any]
SERVICES, SLICES = Group("", "services"), Group("discovery.k8s.io", "endpointslices")
GROUPS = frozenset({SERVICES, SLICES})
CONNECT_S = 3.0
HIGH_WATER = 256 * 1024


class Address(NamedTuple):
    """Where to listen, or to connect."""

    host: str
    port: int


def wanted(services: Sequence[Object], slices: Sequence[Object]) -> dict[Address, tuple[Address, ...]]:
    """Give for each service port its ready endpoints."""
    found: dict[Address, tuple[Address, ...]] = {}
    for service in services:
        host, metadata = service["spec"].get("clusterIP"), service["metadata"]
        if not host or host == "None":
            continue
        own = [s for s in slices if _belongs(s, metadata)]
        for port in service["spec"].get("ports", ()):
            ends = (e for s in own for e in _endpoints(s, port.get("name", "")))
            found[Address(host, port["port"])] = tuple(sorted(set(ends)))
    return found


def _belongs(slice_: Object, service: Object) -> bool:
    labels = slice_["metadata"].get("labels") or {}
    same_space = bool(slice_["metadata"]["namespace"] == service["namespace"])
    return same_space and labels.get("kubernetes.io/service-name") == service["name"]


def _endpoints(slice_: Object, port_name: str) -> Iterator[Address]:
    for port in slice_.get("ports") or ():
        if (port.get("name") or "") != port_name:
            continue
        for endpoint in slice_.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                yield from (Address(a, port["port"]) for a in endpoint["addresses"][:1])


class Pipe(asyncio.Protocol):
    """One half of a proxied connection; its peer is the other."""

    def __init__(self) -> None:
        self.peer: Pipe | None = None
        self.ended = False  # it will send no more
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # came before the join: CPython up to 3.11.3 reads even though told to pause

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            self._early.append(data)
        elif self.peer.transport is not None:
            self.peer.transport.write(data)

    def join(self, peer: "Pipe") -> None:
        """Pass on to `peer` from now on, first what came early."""
        self.peer = peer
        for data in self._early:
            self.data_received(data)
        self._early.clear()

    def eof_received(self) -> bool:
        """Pass the end on; once both directions have ended, the connection has."""
        self.ended = True
        if self.peer is None or self.peer.transport is None:
            return False
        if self.peer.ended:
            self.peer.transport.close()
            return False
        with contextlib.suppress(OSError, RuntimeError):
            self.peer.transport.write_eof()
        return True

    def connection_lost(self, _: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Front(Pipe):
    """The client's half: finds an endpoint before it reads."""

    def __init__(self, port: "ServicePort") -> None:
        super().__init__()
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._port.connecting(self)


class _Back(Pipe):
    """The endpoint's half: counted as open until it is lost."""

    def __init__(self, port: "ServicePort") -> None:
        super().__init__()
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()  # until it is joined: some protocols speak first

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._port.lost(self)


class ServicePort:
    """One listening service port."""

    def __init__(self, address: Address) -> None:
        """Proxy what comes to `address`; does not listen yet."""
        self.address = address
        self._server: asyncio.Server | None = None
        self._backends: tuple[Address, ...] = ()
        self._turn = 0
        self._open: dict[Pipe, Address] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, backends: tuple[Address, ...]) -> None:
        """Proxy to these endpoints from now on; OSError if the address is taken."""
        self._backends = backends
        for pipe, backend in list(self._open.items()):
            if backend not in backends:
                pipe.abort()
        if backends and self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Front(self), *self.address, backlog=512)
        elif not backends:
            await self.close()

    async def close(self) -> None:
        """Listen no more, and cut what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for pipe in list(self._open):
            pipe.abort()
            if pipe.peer is not None:
                pipe.peer.abort()
        await asyncio.sleep(0)  # let the transports see it

    def connecting(self, front: _Front) -> None:
        """Join a new client to an endpoint."""
        task = asyncio.get_running_loop().create_task(self._join(front))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def lost(self, pipe: Pipe) -> None:
        """Forget a connection that has ended."""
        self._open.pop(pipe, None)

    async def _join(self, front: _Front) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(len(self._backends)):
            backend = self._backends[self._turn % len(self._backends)]
            self._turn += 1
            try:
                connecting = loop.create_connection(lambda: _Back(self), *backend)
                async with asyncio.timeout(CONNECT_S):
                    _, back = await connecting
            except (OSError, TimeoutError):
                continue
            if backend in self._backends:
                self._connect(front, back, backend)
                return
            back.abort()
        front.abort()

    def _connect(self, front: _Front, back: Pipe, backend: Address) -> None:
        front.join(back)
        back.join(front)
        self._open[back] = backend
        assert front.transport is not None
        assert back.transport is not None
        if front.transport.is_closing():
            back.transport.close()
            return
        front.transport.resume_reading()
        back.transport.resume_reading()


class Proxies:
    """Keeps service ports in step with Services and EndpointSlices."""

    def __init__(self, api: Api) -> None:
        """Proxy the services of this API."""
        self._api = api
        self._ports: dict[Address, ServicePort] = {}

    async def sync(self) -> float | None:
        """Open, change and close service ports."""
        store = self._api.store
        plan = wanted(store.list(SERVICES), store.list(SLICES))
        for address in self._ports.keys() - plan.keys():
            await self._ports.pop(address).close()
        for address, backends in plan.items():
            port = self._ports.setdefault(address, ServicePort(address))
            await port.serve(backends)
        return None

    async def close(self) -> None:
        """Close all service ports."""
        for port in self._ports.values():
            await port.close()
        self._ports.clear()
