"""How long the volume takes to make log durable, as the log writer sees it. Pure.

It stands in the path of every commit, so it counts into plain lists; the exporter reads them when it is scraped.
"""

from bisect import bisect_left
from collections import deque
from typing import Final

from borealis_engine import native
from borealis_engine.contract.volume import Lsn

BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
OUTSTANDING: Final = 4096  # pieces: more than that under way are not timed


class Latency:
    """Pieces of log by the seconds from their being offered to the volume until D covered them."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)  # the last one: above every bound
        self.seconds = 0.0
        self.bytes = 0
        self._under_way: deque[tuple[Lsn, float]] = deque()

    def offered(self, end: Lsn, size: int, now: float) -> None:
        """Note a piece of log that ends at `end`."""
        self.bytes += size
        if len(self._under_way) < OUTSTANDING:
            self._under_way.append((end, now))

    def durable(self, lsn: Lsn, now: float) -> None:
        """Note that everything below `lsn` is durable."""
        waiting = self._under_way
        while waiting and waiting[0][0] <= lsn:
            took = now - waiting.popleft()[1]
            self.seconds += took
            self.counts[bisect_left(BOUNDS_S, took)] += 1

    def take_back(self, state: native.ReignState) -> None:
        """Add what the native library has counted, and what it left under way."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, state.counts, strict=False)]
        self.seconds += state.seconds
        self.bytes += state.bytes
        self._under_way = deque((Lsn(end), at) for end, at in state.pieces)

    def forget(self) -> None:
        """Forget what is under way: its reign is over."""
        self._under_way.clear()
