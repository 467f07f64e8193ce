"""A clock that stands still while its own process does.

Silence of others counts only while we could have heard them. A process that was frozen, starved or blocked finds,
when it goes on, that little time has passed; so a node that slept through the owner's heartbeats does not call the
owner silent.
Never faster than real time, so leases measured with it are respected for too long, never for too short.
"""

import asyncio
import time
from collections.abc import Callable

BEAT_S = 0.05
MOST_S = 0.25  # time that may pass between two beats before the rest counts as a stall


class StallFreeClock:
    """Seconds in which the event loop ran."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last = monotonic()
        self._base = self._last
        self.stalled = 0.0  # seconds left out so far

    def now(self) -> float:
        """Give the time."""
        return self._base + min(self._monotonic() - self._last, MOST_S)

    def beat(self) -> None:
        """Say that the loop runs; what lies beyond MOST_S since the last beat was a stall."""
        now = self._monotonic()
        passed = now - self._last
        self._base += min(passed, MOST_S)
        self.stalled += max(0.0, passed - MOST_S)
        self._last = now

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_S)
