"""A clock that stands still while its own process does.

Silence of others counts only while we could have heard them. A process that was frozen, starved or blocked finds,
when it goes on, that little time has passed; so a node that slept through the owner's heartbeats does not call the
owner silent.
Never faster than real time, so leases measured with it are respected for too long, never for too short.
"""

import time
from collections.abc import Callable

BEAT_S = 0.05
MOST_S = 0.25  # time that may pass between two beats before the rest counts as a stall


class StallFreeClock:
    """Seconds in which the event loop ran."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        began = monotonic()
        self._beaten = (began, began)  # real time of the last beat, and our time then: one value for all threads
        self.stalled = 0.0  # seconds left out so far

    def now(self) -> float:
        """Give the time, in any thread."""
        last, base = self._beaten
        return base + min(self._monotonic() - last, MOST_S)

    @property
    def read(self) -> tuple[float, float]:
        """Give real time and our time of the last beat: ours goes on from there by MOST_S at most."""
        return self._beaten

    def beat(self) -> None:
        """Say that the loop runs; what lies beyond MOST_S since the last beat was a stall."""
        now, (last, base) = self._monotonic(), self._beaten
        self._beaten = (now, base + min(now - last, MOST_S))
        self.stalled += max(0.0, now - last - MOST_S)
