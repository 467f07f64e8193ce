"""Whether the machine's processors are what everybody waits for.

Where several threads queue for each processor, commits that wait a little for company lose little, and what a larger
piece of log saves is somebody else's commit. Invariant: where that
cannot be known, nothing is crowded.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

QUEUED: Final = 4  # threads that run or want to, for each processor
SHARE: Final = 0.2  # of the latest look in the mean
EVERY_S: Final = 0.05


class Crowd:
    """Counts now and then, of itself, how many threads want a processor."""

    def __init__(self, path: Path = Path("/proc/loadavg"), clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._looked = clock()
        self._mean = 0.0
        self._limit = QUEUED * (os.cpu_count() or 1)

    def __call__(self) -> bool:
        """Say whether the machine is crowded; takes some microseconds every EVERY_S."""
        now = self._clock()
        if now - self._looked >= EVERY_S:
            self._looked = now
            self._mean += SHARE * (self._running() - self._mean)
        return self._mean > self._limit

    def _running(self) -> int:
        try:
            return int(self._path.read_text().split()[3].partition("/")[0])
        except (OSError, ValueError, IndexError):
            return 0
