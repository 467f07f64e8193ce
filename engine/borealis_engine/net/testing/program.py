"""A process of this project's own, for tests: real, to be signalled and killed, but there within milliseconds.

It is forked from a server (multiprocessing's) that has imported the programs already, which is most of what their start
costs. The server ends with the test's process, and what it forked with it.
"""

import asyncio
import ctypes
import importlib
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

FREEZE_S: Final = 10.0
_POLL_S: Final = 0.01
_PR_SET_PDEATHSIG: Final = 1
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["__main__", "borealis_engine.main.storage", "borealis_engine.main.agent"])


class Program:
    """A running program; its `main` has been called as the command would call it."""

    def __init__(self, main: str, *words: str, environment: Mapping[str, str], output: Path) -> None:
        """`main` is module:function or path.py:function, `words` its command line; `output` is appended to."""
        self._process = _FORKS.Process(target=_run, args=(main, words, dict(environment), output), daemon=True)
        self._process.start()

    @classmethod
    async def start(cls, main: str, *, environment: Mapping[str, str], output: Path) -> Self:
        """Start one beside the event loop: the first has to wait for the server's imports."""
        return await asyncio.to_thread(cls, main, environment=environment, output=output)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def send_signal(self, signum: signal.Signals) -> None:
        """Signal it; ProcessLookupError if it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError(f"process {self.pid} has ended with {self.returncode}")
        os.kill(self.pid, signum)

    async def freeze(self) -> None:
        """Send SIGSTOP, and wait until all threads stand still: one that is at work may go on for a moment."""
        self.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(FREEZE_S):
            while not _stands_still(self.pid):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(_POLL_S / 2)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end and give its exit status."""
        while (status := self.returncode) is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_POLL_S)
        return status

    def join(self) -> int:
        """Wait for its end without an event loop."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def _stands_still(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def _run(main: str, words: tuple[str, ...], environment: dict[str, str], output: Path) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with output.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [main, *words]
    _function(main)()


def _function(main: str) -> Callable[[], Any]:
    place, _, name = main.rpartition(":")
    found = runpy.run_path(place)[name] if place.endswith(".py") else getattr(importlib.import_module(place), name)
    return found  # type: ignore[no-any-return]
