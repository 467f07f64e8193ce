"""How fast a storage node gives log to members that catch up: as fast as it can, but slowly while commits come.

Invariant: never slower than twice the log that is written meanwhile, so with three donors (core.sourcing) whoever
catches up gains on the writer, however fast that is.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from borealis_engine.contract.volume import Lsn

PIECE: Final = 256 << 10  # bytes that are sent at once while commits come, or may
BULK: Final = 1 << 20  # and on an idle volume
RATE: Final = 6e6  # bytes a second from each donor while commits come
GAIN: Final = 2  # times what is written meanwhile, if that is more
QUIET_S: Final = 0.1  # without new log: an idle volume


class Pace:
    """That of one storage node, for all whom it gives log. Its methods may be called by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._at, self._flush = clock(), Lsn(0)  # of the last piece
        self._grown_at = self._at - QUIET_S
        self._idle = False  # not known yet

    @property
    def piece(self) -> int:
        """Give how many bytes to send next, at most."""
        return BULK if self._idle else PIECE

    def pause(self, size: int, *, flush: Lsn) -> float:
        """Give the seconds to wait after a piece of `size` bytes went out, when the node's own log ended at `flush`.

        Nobody waits after a first piece: so little delays no commit, and a recovery that reads a tail is in a hurry.
        """
        with self._lock:
            now = self._clock()
            lasted, grown = now - self._at, flush - self._flush
            if grown > 0 and lasted < QUIET_S:
                self._grown_at = now
            self._at, self._flush = now, flush
            quiet = now - self._grown_at >= QUIET_S
            self._idle = quiet and not grown
        return 0.0 if quiet or lasted <= 0 else size / max(RATE, GAIN * grown / lasted)
