"""How fast a storage node gives log to members that catch up: as fast as it can, but slowly while commits come.

Invariant: never slower than twice the log that is written meanwhile, so with three donors (core.sourcing) whoever
catches up gains on the writer, however fast that is.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from borealis_engine.contract.volume import Lsn

RATE: Final = 6e6  # bytes a second from each donor while commits come
GAIN: Final = 2  # times what is written meanwhile, if that is more
QUIET_S: Final = 0.1  # without a commit: an idle volume
LONGEST_S: Final = 0.25


class Pace:
    """That of one storage node, for all whom it gives log. Its methods may be called by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._at = clock()
        self._written_at = self._at - QUIET_S
        self._writes, self._flush = 0, Lsn(0)

    def pause(self, size: int, *, writes: int, flush: Lsn) -> float:
        """Give the seconds to wait after `size` bytes, when `writes` syncs were made and the log ends at `flush`."""
        with self._lock:
            now = self._clock()
            lasted, grown = now - self._at, flush - self._flush
            self._written_at = now if writes != self._writes else self._written_at
            quiet = now - self._written_at >= QUIET_S
            self._at, self._writes, self._flush = now, writes, flush
        if quiet or lasted <= 0:
            return 0.0
        return min(size / max(RATE, GAIN * grown / lasted), LONGEST_S)
