"""Listening: an Api behind TLS on an address of its own."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from borealis_local import tls
from borealis_local.server.api import Api
from borealis_local.server.http import LogReader, Server

SHUTDOWN_S = 0.2


@asynccontextmanager
async def listening(
    api: Api,
    *,
    bound: socket.socket,
    token: str,
    certificates: Path,
    read_log: LogReader,
    extra: Sequence[web.RouteDef] = (),
) -> AsyncIterator[None]:
    """Serve on a bound socket until the block ends."""
    application = Server(api, token=token, read_log=read_log).application()
    application.add_routes(extra)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        site = web.SockSite(runner, bound, ssl_context=tls.server_context(certificates))
        await site.start()
        yield
    finally:
        await runner.cleanup()
