"""An HTTP server behind a door: who has shown no certificate of the cluster is a stranger, and soon gone.

Plain HTTP asks for none, so each of its connections is a stranger's: it is closed after the door's patience, whatever
it is at, and its peer makes another one.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from borealis_engine.net.door import HANDSHAKE_S, Door, Drop, Stranger
from borealis_engine.net.errors import PeerRejected
from borealis_engine.net.tls import Tls


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, tls: Tls | None, *, patience_s: float, dropped: Callable[[Drop], None]
) -> AsyncIterator[None]:
    """Serve an application until the block ends, over mTLS if there is `tls`; OSError if the address is taken."""
    entrance = _Entrance(app, tls, patience_s=patience_s, dropped=dropped)
    await entrance.runner.setup()
    try:
        entrance.door.listen(host, port)
        yield
    finally:
        await entrance.close()
        await entrance.runner.cleanup()


class _Log(logging.LoggerAdapter[logging.Logger]):
    """Where aiohttp logs. What is no HTTP is counted, and never logged with its bytes: a stranger would fill disks."""

    def __init__(self, door: Door) -> None:
        super().__init__(logging.getLogger(__name__))
        self._door = door

    def log(self, level: int, msg: object, *args: object, exc_info: Any = None, **more: Any) -> None:
        """Log what is ours."""
        if isinstance(exc_info, HttpProcessingError):
            self._door.note(Drop.REJECTED, f"what came is no request: {type(exc_info).__name__}")
        else:
            super().log(level, msg, *args, exc_info=exc_info, **more)


class _Entrance:
    """Makes connections of what the door lets in."""

    def __init__(
        self, app: web.Application, tls: Tls | None, *, patience_s: float, dropped: Callable[[Drop], None]
    ) -> None:
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.door = Door(self._welcome, patience_s=patience_s, dropped=dropped)
        log = _Log(self.door)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handle_signals=False, logger=log)

    async def close(self) -> None:
        """Take no more connections, and drop those that are not made yet."""
        self.door.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _welcome(self, sock: socket.socket, stranger: Stranger) -> None:
        task = asyncio.create_task(self._connect(sock, stranger))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, sock: socket.socket, stranger: Stranger) -> None:
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Connection(self._handler(), self.door, stranger, self._tls),
                sock,
                ssl=self._tls.server if self._tls else None,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls else None,
            )
        except Exception as error:  # noqa: BLE001 - whatever a stranger makes of a handshake costs that alone
            if self.door.gone(stranger):
                self.door.note(Drop.REJECTED, str(error))
            sock.close()

    def _handler(self) -> asyncio.Protocol:
        if self.runner.server is None:
            raise ConnectionAbortedError("the server stops")
        handler: asyncio.Protocol = self.runner.server()
        return handler


class _Connection(asyncio.Protocol):
    """One connection of the HTTP server; the door hears when its certificate is seen, and when it is gone."""

    def __init__(self, handler: asyncio.Protocol, door: Door, stranger: Stranger, tls: Tls | None) -> None:
        self._handler, self._door, self._stranger, self._tls = handler, door, stranger, tls
        self.data_received = handler.data_received  # type: ignore[method-assign]  # no step more for each piece
        self.eof_received = handler.eof_received  # type: ignore[method-assign]
        self.pause_writing = handler.pause_writing  # type: ignore[method-assign]
        self.resume_writing = handler.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done; one without a role stays a stranger, who hears refusals for a while."""
        self._handler.connection_made(transport)
        if self._tls is not None and self._has_role(transport, self._tls) and not self._door.known(self._stranger):
            assert isinstance(transport, asyncio.Transport)
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._door.gone(self._stranger)
        self._handler.connection_lost(exc)

    @staticmethod
    def _has_role(transport: asyncio.BaseTransport, tls: Tls) -> bool:
        peer: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        try:
            return bool(tls.role_of(peer))
        except PeerRejected:
            return False
