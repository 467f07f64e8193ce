"""Events of the simulated world in order of time, and what randomness everyone draws from."""

import heapq
from collections.abc import Callable
from random import Random
from typing import Any


class Clockwork:
    """A queue of things to do; `now` is the world's true time in seconds."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self._trace = trace
        self._queue: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    @property
    def steps(self) -> int:
        """How many things were done."""
        return self._count - len(self._queue)

    def at(self, when: float, do: Callable[..., object], *args: object) -> None:
        """Do something at a time, not before what is due earlier or was asked for before."""
        self._count += 1
        heapq.heappush(self._queue, (when if when > self.now else self.now, self._count, do, args))

    def after(self, delay: float, do: Callable[..., object], *args: object) -> None:
        """Do something in a while."""
        self.at(self.now + delay, do, *args)

    def run(self, until: float) -> None:
        """Let time go on."""
        queue, pop = self._queue, heapq.heappop
        while queue and queue[0][0] <= until:
            self.now, _, do, args = pop(queue)
            do(*args)
        self.now = until

    def note(self, who: str, what: str, *details: object) -> None:
        """Write a line of the trace, if there is one."""
        if self._trace:
            print(f"{self.now:9.4f} {who:>9}  {what} {' '.join(map(str, details))}")  # noqa: T201 - the trace


class Clock:
    """An actor's own clock: it began elsewhere and runs a little fast or slow."""

    __slots__ = ("_offset", "_rate", "_world")

    def __init__(self, world: Clockwork, *, drift: float = 0.01) -> None:
        self._world = world
        self._offset = world.random.uniform(0, 1000)
        self._rate = 1 + world.random.uniform(-drift, drift)

    @property
    def now(self) -> float:
        """What this clock shows."""
        return self._offset + self._world.now * self._rate

    def true(self, shown: float) -> float:
        """The world's time at which it shows `shown`."""
        return (shown - self._offset) / self._rate
