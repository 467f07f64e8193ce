"""The door of a port: accepts connections, and bounds what a stranger costs, a peer that has shown no certificate.

Invariants: at most STRANGERS strangers are connected, PER_ADDRESS of them from one address, and none for longer than
the door's patience in all, however slowly it speaks. A newcomer is let in: the oldest stranger of the address that has
most of them goes for it. The last descriptors of the process are never taken by a connection: the store needs them.
"""

import asyncio
import logging
import os
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Final

log = logging.getLogger(__name__)

STRANGERS: Final = 64
PER_ADDRESS: Final = 32  # in local mode all come from one
PEERS: Final = 256  # connections whose certificate was accepted, at most
HANDSHAKE_S: Final = 5.0  # for a whole handshake
RESERVED: Final = 64  # descriptors that no connection takes, or a quarter of a small limit
BACKLOG: Final = 64  # connections not accepted yet
PAUSE_S: Final = 0.02  # while descriptors are few, between two looks
LOG_S: Final = 10.0  # between two lines of log about one reason: strangers write no log


class Drop(StrEnum):
    """Why a connection was dropped."""

    LATE = "late"  # no certificate, or no whole request, in time
    CROWDED = "crowded"  # made room for a newcomer, or too many peers are connected
    DESCRIPTORS = "descriptors"  # the process has few left
    REJECTED = "rejected"  # the handshake failed, the certificate names no role that may speak here, or it is no HTTP
    FAILED = "failed"  # an unexpected error, or no thread or memory for it


class Stranger:
    """A connection that has shown no certificate yet."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.address = address
        self._sock = sock

    def leave(self) -> None:
        """End the connection, whoever waits on it included; under the door's lock, before the socket is closed."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as it may have: a journal keeps one for each 64 MiB of log."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # not allowed: the door keeps what is needed free
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Door:
    """Listens, and knows who is a stranger. `listen` and `close` are for the event loop, `known` and `gone` for any."""

    def __init__(
        self,
        welcome: Callable[[socket.socket, Stranger], None],
        *,
        patience_s: float = HANDSHAKE_S,
        dropped: Callable[[Drop], None],
    ) -> None:
        """`welcome` takes an accepted socket and calls `gone` before it closes it; what it raises costs that alone."""
        self._welcome = welcome
        self._patience_s = patience_s
        self._dropped = dropped
        self._lock = threading.Lock()
        self._strangers: dict[Stranger, None] = {}  # oldest first
        self._peers: set[Stranger] = set()
        self._listeners: list[socket.socket] = []
        self._logged: dict[Drop, float] = {}

    def listen(self, host: str, port: int) -> None:
        """Take connections from here on; OSError if the address cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        listener.setblocking(False)
        self._listeners.append(listener)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def close(self) -> None:
        """Take no more connections."""
        while self._listeners:
            listener = self._listeners.pop()
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()

    def known(self, stranger: Stranger) -> bool:
        """Hear that its certificate was accepted; False if it was dropped meanwhile, or too many are connected."""
        with self._lock:
            if stranger not in self._strangers:
                return False
            del self._strangers[stranger]
            if room := len(self._peers) < PEERS:
                self._peers.add(stranger)
        if not room:
            self.note(Drop.CROWDED, f"{PEERS} peers are connected")
        return room

    def gone(self, stranger: Stranger) -> bool:
        """Hear that the connection ends; True if it was a stranger that nobody had dropped."""
        with self._lock:
            self._peers.discard(stranger)
            was_stranger = stranger in self._strangers
            self._strangers.pop(stranger, None)
        return was_stranger

    def note(self, reason: Drop, what: str) -> None:
        """Count a connection that was dropped, and log it unless that was done for another one just now."""
        self._dropped(reason)
        self._log(reason, what)

    def _log(self, reason: Drop, what: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(reason, -LOG_S) >= LOG_S:
            self._logged[reason] = now
            log.warning("a connection was dropped (%s): %s", reason.value, what)

    # --- in the event loop ---------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        if scarce(listener.fileno()):  # who comes waits in the backlog meanwhile
            if not self._drop(self._oldest(), Drop.DESCRIPTORS):
                self._log(Drop.DESCRIPTORS, "none is, for few descriptors are left: newcomers wait")
            self._pause(listener)
            return
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            return  # the peer was faster to leave
        except OSError as error:  # the system has no descriptor or memory left
            self._log(Drop.DESCRIPTORS, str(error))
            self._pause(listener)
            return
        self._drop(self._in_the_way_of(str(address[0])), Drop.CROWDED)
        stranger = Stranger(sock, str(address[0]))
        with self._lock:
            self._strangers[stranger] = None
        asyncio.get_running_loop().call_later(self._patience_s, self._drop, stranger, Drop.LATE)
        try:
            self._welcome(sock, stranger)
        except Exception as error:  # noqa: BLE001 - no memory, no thread, or the peer has gone: it costs this one alone
            self.gone(stranger)
            sock.close()
            self.note(Drop.FAILED, f"{type(error).__name__}: {error}")

    def _pause(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _in_the_way_of(self, address: str) -> Stranger | None:
        """Give who has to go for a newcomer from an address."""
        with self._lock:
            there = Counter(stranger.address for stranger in self._strangers)
            if there[address] < PER_ADDRESS:
                if len(self._strangers) < STRANGERS:
                    return None
                address = max(there, key=lambda each: there[each])
            return next(stranger for stranger in self._strangers if stranger.address == address)

    def _oldest(self) -> Stranger | None:
        with self._lock:
            return next(iter(self._strangers), None)

    def _drop(self, stranger: Stranger | None, reason: Drop) -> bool:
        """Drop somebody who is still a stranger; False if there is none."""
        with self._lock:
            if stranger is None or stranger not in self._strangers:
                return False
            del self._strangers[stranger]
            stranger.leave()
        self.note(reason, f"from {stranger.address}, without a certificate")
        return True


def scarce(descriptor: int) -> bool:
    """Tell whether few descriptors are left: the lowest that is free, which a copy of any gets, is one of the last."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        lowest = os.dup(descriptor)
    except OSError:
        return True
    os.close(lowest)
    return limit != resource.RLIM_INFINITY and lowest >= limit - min(RESERVED, limit // 4)
