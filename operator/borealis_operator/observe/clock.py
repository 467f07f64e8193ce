"""A clock that runs only while this process does: the silence of others counts on it.

A frozen or starved operator would otherwise take its own absence for the death of everybody else.
"""

import asyncio
from typing import Final

TICK_S: Final = 0.1
MOST_S: Final = 0.3  # what one tick may add, however late it comes


class RunningClock:
    """Seconds for which the event loop has been running."""

    def __init__(self) -> None:
        self._now = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def now(self) -> float:
        """Seconds so far."""
        return self._now

    def start(self) -> None:
        """Begin to count; idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="running clock")

    async def stop(self) -> None:
        """Cease to count."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(TICK_S)
            self._now += min(loop.time() - last, MOST_S)
            last = loop.time()
