"""The control server (HTTPS, client certificates) and the probe server (plain HTTP, reading only) of every pod.

Both mains use it: they give callables for their status and commands, and get `/status`, `/events`, `/volume`, their own
commands, `/healthz`, `/readyz` and `/metrics`. Invariant: a command runs only for a peer whose certificate says
`operator`; any role of the cluster may read the status; nobody else reads anything but probes.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry, generate_latest

from borealis_engine.contract.names import (
    CONTROL_PORT,
    EVENTS,
    EVENTS_HEARTBEAT_S,
    PROBE_PORT,
    ROLE_OPERATOR,
    STATUS,
    VOLUME,
)
from borealis_engine.contract.volume import VolumeConfig, parse
from borealis_engine.net.door import HANDSHAKE_S, Drop
from borealis_engine.net.errors import PeerRejected
from borealis_engine.net.http import listening
from borealis_engine.net.tls import ROLES, Tls

MIN_EVENT_GAP_S = 0.02  # a burst of changes becomes one line
MAX_BODY = 1 << 20
PROBE_S = 10.0  # for a whole connection to the probes: the longest that Prometheus waits by default


class Status(Protocol):
    """What `/status` shows: contract.status.InstanceStatus or StorageStatus."""

    def to_json(self) -> str:
        """One line of JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Answer to a command: an HTTP status and a JSON object."""

    status: int = 202
    body: Mapping[str, object] = field(default_factory=dict)


Command: TypeAlias = Callable[[bytes], Awaitable[Reply]]
RequestHandler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What a main shows and obeys. `configure` gives the configuration in force after the call."""

    status: Callable[[], Status]
    configure: Callable[[VolumeConfig], VolumeConfig]
    configuration: Callable[[], VolumeConfig]
    ready: Callable[[], bool]
    healthy: Callable[[], bool] = lambda: True
    commands: Mapping[tuple[str, str], Command] = field(default_factory=dict)  # (method, path)
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    dropped: Callable[[Drop], None] = lambda reason: None  # a connection was


class Changes:
    """Wakes every event stream when the status has changed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.closing = False

    def changed(self) -> None:
        """Say that the status differs from what was last sent."""
        self._event.set()
        self._event = asyncio.Event()

    def close(self) -> None:
        """End every stream."""
        self.closing = True
        self.changed()

    def mark(self) -> asyncio.Event:
        """Give what the next change will set; taken before the status is read, so that no change is missed."""
        return self._event


async def _wait(event: asyncio.Event, timeout: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()


@asynccontextmanager
async def serve_control(
    surface: Surface, changes: Changes, tls: Tls, *, host: str, port: int = CONTROL_PORT
) -> AsyncIterator[None]:
    """Serve the control paths over mTLS until the block ends."""
    app = web.Application(middlewares=[_gate(tls)], client_max_size=MAX_BODY)
    app.router.add_get(STATUS, _status(surface))
    app.router.add_get(EVENTS, _events(surface, changes))
    app.router.add_get(VOLUME, _configuration(surface))
    app.router.add_put(VOLUME, _volume(surface))
    for (method, path), command in surface.commands.items():
        app.router.add_route(method, path, _command(command))
    async with listening(app, host, port, tls, patience_s=HANDSHAKE_S, dropped=surface.dropped):
        try:
            yield
        finally:
            changes.close()


@asynccontextmanager
async def serve_probes(surface: Surface, *, host: str, port: int = PROBE_PORT) -> AsyncIterator[None]:
    """Serve the probes over plain HTTP until the block ends."""
    app = web.Application()
    app.router.add_get("/healthz", _probe(surface.healthy))
    app.router.add_get("/readyz", _probe(surface.ready))
    app.router.add_get("/metrics", _metrics(surface.metrics))
    async with listening(app, host, port, None, patience_s=PROBE_S, dropped=surface.dropped):
        yield


def _gate(tls: Tls) -> Middleware:
    reading = {("GET", STATUS), ("GET", EVENTS)}

    @web.middleware
    async def gate(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        peer = request.transport.get_extra_info("ssl_object") if request.transport else None
        roles = ROLES if (request.method, request.path) in reading else (ROLE_OPERATOR,)
        try:
            tls.require(peer, *roles)
        except PeerRejected as error:
            return web.json_response({"error": str(error)}, status=403)
        return await handler(request)

    return gate


def _status(surface: Surface) -> RequestHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text=surface.status().to_json(), content_type="application/json")

    return handler


def _events(surface: Surface, changes: Changes) -> RequestHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        with suppress(ConnectionError):
            while not changes.closing:
                change = changes.mark()
                await response.write(surface.status().to_json().encode() + b"\n")
                await asyncio.sleep(MIN_EVENT_GAP_S)
                await _wait(change, EVENTS_HEARTBEAT_S - MIN_EVENT_GAP_S)
        return response

    return handler


def _volume(surface: Surface) -> RequestHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            wanted = parse((await request.read()).decode())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        known = surface.configure(wanted)
        status = 200 if known == wanted else 409
        return web.Response(text=known.to_json(), content_type="application/json", status=status)

    return handler


def _configuration(surface: Surface) -> RequestHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text=surface.configuration().to_json(), content_type="application/json")

    return handler


def _command(command: Command) -> RequestHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        reply = await command(await request.read())
        return web.json_response(dict(reply.body), status=reply.status, dumps=json.dumps)

    return handler


def _probe(answer: Callable[[], bool]) -> RequestHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n") if answer() else web.Response(text="no\n", status=503)

    return handler


def _metrics(registry: CollectorRegistry) -> RequestHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    return handler
