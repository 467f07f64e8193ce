"""A thread that works on the disk in the background: at a low rate, after those who commit, and gone when it has to be.

Invariant: it holds no lock while it waits, and waits after each step for as long as the step is worth at the stated
rate, and many times as long as it took, so that commits find disk, processor and interpreter free.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")

SHORTEST_S: Final = 0.01  # pauses are taken when they are worth it
BUSY_S: Final = 0.05  # how long an append under way is waited for
LOOK_S: Final = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Bytes a second, seconds between two rounds and between two attempts to mend; share of the time at work."""

    rate: int = 8 << 20
    rest_s: float = 3600.0
    retry_s: float = 5.0
    share: float = 0.05


PACE: Final = Pace()


class Stopped(Exception):
    """The thread is to end."""


class Background:
    """A thread; `work` runs in it until it returns or raises Stopped, `failed` hears of any other exception."""

    def __init__(self, name: str, pace: Pace, *, busy: Callable[[], bool], failed: Callable[[Exception], None]) -> None:
        self.pace = pace
        self._busy, self._failed = busy, failed
        self._name = name
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owed, self._since = 0.0, time.monotonic()

    def start(self, work: Callable[[], None]) -> None:
        """Begin, in a running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(work,), name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End and wait for the end; not from the event loop, which the thread may be waiting for."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """End a `rest` early."""
        self._wake.set()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Stopped:
            pass
        except Exception as error:
            log.exception("%s failed", self._name)
            self._failed(error)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def pause(self, size: int) -> None:
        """Wait for as long as `size` bytes, and the work since the last call, are worth; Stopped if it is to end."""
        spent = time.monotonic() - self._since
        self._owed += max(size / self.pace.rate, spent / self.pace.share)
        if self._owed >= SHORTEST_S:
            if self._stop.wait(self._owed):
                raise Stopped
            self._owed, patience = 0.0, time.monotonic() + BUSY_S
            while self._busy() and time.monotonic() < patience:
                if self._stop.wait(LOOK_S):
                    raise Stopped
        self._since = time.monotonic()

    def rest(self, seconds: float) -> None:
        """Wait so long, or until `wake`; Stopped if it is to end."""
        self._wake.wait(seconds)
        if self._stop.is_set():
            raise Stopped
        self._wake.clear()
        self._since = time.monotonic()

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop and give what it gives; Stopped, and it cancelled, if this is to end."""
        if self._loop is None:
            raise RuntimeError("not started")
        future = asyncio.run_coroutine_threadsafe(question, self._loop)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(0.1):
            if self._stop.is_set():
                future.cancel()
                raise Stopped
        return future.result()
