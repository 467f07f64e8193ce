"""The storage nodes of a local cluster as processes: looked at, delayed, frozen.

Invariant: whatever was stopped here goes on when the block ends, however it ends; and a member is delayed by means
that need nothing in the product: SIGSTOP and SIGCONT in turn. (Delay in the network, `tc netem`, would also delay
everybody else on the machine, and not every kernel has it.)
"""

import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from borealis_engine.contract import names

from benchmarks.processes import BenchmarkFailed
from benchmarks.usage import Process, beneath, group

DELAY_S: Final = 0.2
AWAKE_S: Final = 0.02  # between two delays: enough to take in and flush what came meanwhile
ASK_S: Final = 2.0
_SAMPLE: Final = re.compile(r"^borealis_storage_(\w+?)(?:\{state=\"([\w-]+)\"\})? ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One storage pod: its process, address, and where its disk and Kubernetes node are."""

    name: str
    pid: int
    address: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a member says of itself."""

    current: bool
    flush: int
    durable: int


def processes(root: int) -> dict[str, int]:
    """Give the process of each storage pod beneath the supervisor by the pod's name."""
    found = {}
    for process in beneath([root]):
        if group(process.command) == "storage nodes" and (pod := _pod(process)):
            found[pod] = process.pid
    return found


def ask(address: str) -> Standing | None:
    """Give what the member at `address` says now, from its metrics; None if it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}:{names.PROBE_PORT}/metrics", timeout=ASK_S) as reply:
            return parse(reply.read().decode())
    except OSError:
        return None


def parse(metrics: str) -> Standing:
    """Read a member's metrics."""
    told = {(name, state): float(value) for name, state, value in _SAMPLE.findall(metrics)}
    return Standing(
        current=told.get(("state", "current"), 0.0) == 1.0,
        flush=int(told.get(("flush_lsn", ""), 0)),
        durable=int(told.get(("durable_lsn", ""), 0)),
    )


@contextmanager
def frozen(members: Sequence[Member]) -> Iterator[None]:
    """Hold members stopped."""
    try:
        for member in members:
            os.kill(member.pid, signal.SIGSTOP)
        yield
    finally:
        _thaw(members)


@contextmanager
def delayed(members: Sequence[Member]) -> Iterator[None]:
    """Stop members for DELAY_S again and again, so that they answer up to so much later; each by a clock of its own."""
    over = threading.Event()
    threads = [threading.Thread(target=_pulse, args=(member, over), daemon=True) for member in members]
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        _thaw(members)


def _pulse(member: Member, over: threading.Event) -> None:
    with suppress(ProcessLookupError):
        while not over.is_set():
            os.kill(member.pid, signal.SIGSTOP)
            over.wait(DELAY_S)
            os.kill(member.pid, signal.SIGCONT)
            over.wait(AWAKE_S)


def _thaw(members: Sequence[Member]) -> None:
    for member in members:
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGCONT)


def await_current(addresses: Sequence[str], *, flush: int, limit_s: float, poll_s: float = 0.05) -> None:
    """Wait until all of them are current and hold the log up to `flush`; BenchmarkFailed after `limit_s`."""
    until = time.monotonic() + limit_s
    waiting = list(addresses)
    while waiting:
        told = ask(waiting[0])
        if told is not None and told.current and told.flush >= flush:
            waiting.pop(0)
            continue
        if time.monotonic() > until:
            raise BenchmarkFailed(f"the storage node at {waiting[0]} is not current after {limit_s:.0f} s: {told}")
        time.sleep(poll_s)


def _pod(process: Process) -> str:
    try:
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
    pairs = (each.partition("=") for each in environment.split("\0"))
    return next((value for key, _, value in pairs if key == names.ENV_POD_NAME), "")
