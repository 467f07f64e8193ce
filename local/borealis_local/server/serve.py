"""Listening: an Api behind TLS on an address of its own."""

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
    address: str,
    port: int,
    token: str,
    certificates: Path,
    read_log: LogReader,
    extra: Sequence[web.RouteDef] = (),
) -> AsyncIterator[None]:
    """Serve until the block ends; OSError if the address is taken."""
    application = Server(api, token=token, read_log=read_log).application()
    application.add_routes(extra)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port, ssl_context=tls.server_context(certificates), reuse_address=True)
        await site.start()
        yield
    finally:
        await runner.cleanup()
