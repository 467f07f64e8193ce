"""The lock of a storage node that lends the node to the native library while nobody holds it.

Whoever takes the lock closes the lane first and has the node told, in order, what went the short way meanwhile
(`Borrower.settle`); whoever leaves it opens the lane again if `Borrower.terms` allows. So Python never sees the node
without what the library did, and the library never acts on terms that Python has changed.
"""

import ctypes
import threading
from types import TracebackType
from typing import Protocol

from borealis_engine import native
from borealis_engine.core.effects import Conn
from borealis_engine.net.wire import Wire


class Borrower(Protocol):
    """Whose node is lent; both are called under the lock and raise nothing."""

    def settle(self, deeds: native.Deeds) -> None:
        """Take what went the short way; if an append is still on it, it is to be finished after `serve` says so."""

    def terms(self, terms: native.Terms) -> bool:
        """Fill in what an append must fulfil to go the short way; False: none may."""


class Lane:
    """A lock, for `with` and for threading.Condition."""

    def __init__(self, library: ctypes.CDLL, borrower: Borrower, bounds: tuple[float, ...]) -> None:
        """`bounds` are those of the histogram of syncs, in seconds."""
        self._library, self._borrower = library, borrower
        self._lock = threading.Lock()
        self._lane = library.lane_new((ctypes.c_double * len(bounds))(*bounds), len(bounds))
        self._terms, self._deeds = native.Terms(), native.Deeds()
        self._terms_at, self._deeds_at = ctypes.byref(self._terms), ctypes.byref(self._deeds)

    def __del__(self) -> None:
        if lane := getattr(self, "_lane", None):
            self._library.lane_free(lane)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, and the node with it."""
        if not self._lock.acquire(blocking, timeout):
            return False
        if self._library.lane_close(self._lane, self._deeds_at):
            self._borrower.settle(self._deeds)
        return True

    def release(self) -> None:
        """Leave the lock, and the node to the library if that may have it."""
        if self._borrower.terms(self._terms):
            self._library.lane_open(self._lane, self._terms_at)
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def syncing(self) -> float:
        """Since when the library waits for the disk, of time.monotonic; 0 if it does not."""
        since: float = self._library.lane_syncing(self._lane)
        return since

    def serve(self, wire: Wire, conn: Conn, *, aligned: bool, wait_ms: int) -> tuple[int, int]:
        """Serve a connection until Python is needed: native.BYTES, FEED, HANDED or the code of its end, and errno."""
        error = ctypes.c_int()
        code = self._library.lane_serve(self._lane, wire.pointer, conn, int(aligned), wait_ms, ctypes.byref(error))
        return code, error.value
