"""Appends to the journal: in place while the disk is swift, in a thread of their own otherwise.

To hand a small append to a thread and its result back costs more than a swift disk takes for it. So it is done in the
event loop as long as appends are short; whenever one was not, the next ones go to the thread, so that a slow disk holds
the loop up once in PATIENCE appends. Invariant: work is done in the order in which it was given, and `done` is never
called before `append` has returned.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final, Protocol, TypeAlias

from borealis_engine.core.journal import Logged, Record

Done: TypeAlias = Callable[[Exception | None, float], None]  # called in the loop with the seconds that it took
SWIFT_S: Final = 0.004  # an append that took longer sends the next ones to the thread
PATIENCE: Final = 20  # appends in the thread before one is tried in place again
SMALL: Final = 64 * 1024  # bytes of log: more than that always goes to the thread


class Appendable(Protocol):
    """A journal, as far as it is needed here."""

    def append(self, records: Sequence[Record]) -> None:
        """Make the records durable together."""


class DiskThread:
    """Appends records; `stop` waits for the append that is under way."""

    def __init__(
        self, journal: Appendable, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._loop = loop
        self._queue: SimpleQueue[tuple[Sequence[Record], Done] | None] = SimpleQueue()
        self._under_way = 0  # given to the thread and not finished
        self._patience = PATIENCE  # appends that still go to the thread
        self._thread = threading.Thread(target=self._run, name="append", daemon=True)
        self._thread.start()

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Append, then call `done` in the loop."""
        self._patience -= 1
        if self._patience > 0 or self._under_way or not _small(records):
            self._under_way += 1
            self._queue.put((records, done))
            return
        failure, seconds = self._append(records)
        if seconds > SWIFT_S:
            self._patience = PATIENCE
        self._loop.call_soon(done, failure, seconds)

    def stop(self) -> None:
        """End the thread once what it was given is done; its callbacks may not run any more."""
        self._queue.put(None)
        self._thread.join()

    def _append(self, records: Sequence[Record]) -> tuple[Exception | None, float]:
        began, failure = self._clock(), None
        try:
            self._journal.append(records)
        except Exception as error:  # noqa: BLE001 - handed on to the loop, which takes the node out of service
            failure = error
        return failure, self._clock() - began

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            records, done = work
            failure, seconds = self._append(records)
            try:
                self._loop.call_soon_threadsafe(self._finish, done, failure, seconds)
            except RuntimeError:
                return  # the loop is closed

    def _finish(self, done: Done, failure: Exception | None, seconds: float) -> None:
        self._under_way -= 1
        done(failure, seconds)


def _small(records: Sequence[Record]) -> bool:
    return sum(len(record.data) for record in records if isinstance(record, Logged)) <= SMALL
