"""The door of the operator's one port: probes ask for no certificate, so no connection may cost much, or for long.

Invariant: at most MOST connections are open, PER_ADDRESS of them from one address, none for longer than its time. A
newcomer is let in, and the oldest goes: of its own address if that has its share, else of all.
"""

import asyncio
import contextlib
import resource
from collections.abc import Callable
from typing import Final

MOST: Final = 64
PER_ADDRESS: Final = 16
PATIENCE_S: Final = 10.0


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as it may have: each pod of each cluster has a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # not allowed: it has what it has
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Door:
    """Makes the connections of an HTTP server, and ends them."""

    def __init__(self, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make
        self._open: dict[asyncio.Transport, str] = {}  # address, oldest first

    def __call__(self) -> asyncio.Protocol:
        """Give the protocol of a new connection."""
        return _Connection(self, self._make())

    def came(self, transport: asyncio.Transport) -> None:
        """Hear of a connection."""
        address = str((transport.get_extra_info("peername") or ("",))[0])
        own = [each for each, at in self._open.items() if at == address]
        if len(own) >= PER_ADDRESS:
            own[0].abort()
            self.went(own[0])
        elif len(self._open) >= MOST:
            oldest = next(iter(self._open))
            oldest.abort()
            self.went(oldest)
        self._open[transport] = address
        asyncio.get_running_loop().call_later(PATIENCE_S, transport.abort)

    def went(self, transport: asyncio.Transport) -> None:
        """Hear of the end of one."""
        self._open.pop(transport, None)


class _Connection(asyncio.Protocol):
    """One connection: all is the HTTP server's, but the door hears of its begin and its end."""

    def __init__(self, door: Door, handler: asyncio.Protocol) -> None:
        self._door, self._handler = door, handler
        self._transport: asyncio.Transport | None = None
        self.data_received = handler.data_received  # type: ignore[method-assign]
        self.eof_received = handler.eof_received  # type: ignore[method-assign]
        self.pause_writing = handler.pause_writing  # type: ignore[method-assign]
        self.resume_writing = handler.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._handler.connection_made(transport)
        self._door.came(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        assert self._transport is not None
        self._door.went(self._transport)
        self._handler.connection_lost(exc)
