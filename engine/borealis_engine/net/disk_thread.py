"""The one thread that appends to the journal, so that a slow sync never holds up the event loop.

Leaner than an executor: a queue in, a callback in the loop out. Work is done in the order in which it was given.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeAlias

from borealis_engine.core.journal import Record
from borealis_engine.store.journal import Journal

Done: TypeAlias = Callable[[Exception | None, float], None]  # called in the loop with the seconds that it took


class DiskThread:
    """Appends records; `stop` waits for the append that is under way."""

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self._journal = journal
        self._loop = loop
        self._queue: SimpleQueue[tuple[Sequence[Record], Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="append", daemon=True)
        self._thread.start()

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Append in the thread, then call `done` in the loop."""
        self._queue.put((records, done))

    def stop(self) -> None:
        """End the thread once what it was given is done; its callbacks may not run any more."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            records, done = work
            began, failure = self._loop.time(), None
            try:
                self._journal.append(records)
            except Exception as error:  # noqa: BLE001 - handed on to the loop, which takes the node out of service
                failure = error
            try:
                self._loop.call_soon_threadsafe(done, failure, self._loop.time() - began)
            except RuntimeError:
                return  # the loop is closed
