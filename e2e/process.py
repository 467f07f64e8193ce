"""Foreign programs (docker, kind, kubectl, helm): every call has a deadline, and its output is in the error."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "e2e" / "out"


class CommandFailed(AssertionError):
    """A program ended with another code than 0, or not in time."""


def run(
    *command: str,
    timeout: float = 60,
    stdin: str | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program from the project's root and give its standard output; CommandFailed carries both outputs."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT, env=env
        )
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(f"{_words(command)}: no end within {timeout:.0f} s") from late
    if check and done.returncode != 0:
        raise CommandFailed(f"{_words(command)}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def await_that(what: str, look: Callable[[], T | None], *, timeout: float, every: float = 0.25) -> T:
    """Look until there is something (neither None nor False), give it; AssertionError names what did not come."""
    end, last = time.monotonic() + timeout, ""
    while time.monotonic() < end:
        try:
            found = look()
        except CommandFailed as failed:
            found, last = None, f": {failed}"
        if found is not None and found is not False:
            return found
        time.sleep(every)
    raise AssertionError(f"{what}: not within {timeout:.0f} s{last}")


def _words(command: Sequence[str]) -> str:
    return " ".join(word if len(word) < 80 else word[:77] + "..." for word in command)
