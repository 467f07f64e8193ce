"""Liveness, readiness and metrics of the operator itself, over plain HTTP; reading only."""

import asyncio
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import generate_latest

from borealis_operator.main.door import Door


@dataclass(slots=True, kw_only=True)
class Health:
    """What the probes report: `ready` once the Kubernetes API answers; a standby is ready too."""

    ready: bool = False
    leading: bool = False

    async def serve(self, address: str, port: int) -> web.AppRunner:
        """Answer on `address:port` until the runner is cleaned up; OSError if the port is taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        listening: list[asyncio.Server] = []

        async def close(_: web.Application) -> None:
            for server in listening:
                server.close()

        app.on_shutdown.append(close)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        assert runner.server is not None
        listening.append(await asyncio.get_running_loop().create_server(Door(runner.server), address, port))
        return runner

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="leading\n" if self.leading else "standing by\n")

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503, text=f"{self.ready}\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), content_type="text/plain")
