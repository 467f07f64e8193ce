"""Which processor time went where: the processes beneath a root, by what they are for the product.

A backend ends with its client, and its time passes to the postmaster that reaps it; so PostgreSQL's time counts what
its servers have reaped. Whoever lives through a measurement needs no more than two looks at /proc.
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
GROUPS: Final = ("postgres", "walsenders", "log writer", "storage nodes", "receivers")
SETTLE_S: Final = 0.1  # for backends that end to be reaped
_SHIM: Final = "shim.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process: its command line, and its seconds, own and of children that it has reaped."""

    pid: int
    parent: int
    command: str
    own_s: float
    reaped_s: float


def beneath(roots: Iterable[int]) -> list[Process]:
    """Give the processes that descend from `roots`, and the roots themselves."""
    known = {process.pid: process for process in _all()}
    children: dict[int, list[int]] = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, waiting = [], [pid for pid in roots if pid in known]
    while waiting:
        pid = waiting.pop()
        found.append(known[pid])
        waiting += children.get(pid, [])
    return found


def group(command: str) -> str:
    """Say what a process is for, one of GROUPS; empty for those that no commit needs."""
    if _SHIM in command:
        return ""
    if "borealis-storage" in command:
        return "storage nodes"
    if "borealis-agent" in command:
        return "log writer"
    if "pg_receivewal" in command:
        return "receivers"
    if command.startswith("postgres:") and "walsender" in command:
        return "walsenders"
    first = os.path.basename(command.partition(" ")[0])
    return "postgres" if first in ("postgres", "postgres:") else ""


def totals(processes: Iterable[Process]) -> dict[str, float]:
    """Give the seconds of each group."""
    found = dict.fromkeys(GROUPS, 0.0)
    for process in processes:
        if name := group(process.command):
            found[name] += process.own_s + (process.reaped_s if name == "postgres" else 0.0)
    return found


class Meter:
    """The seconds that each group uses between its making and `read`."""

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = tuple(roots)
        self._before = totals(beneath(self._roots))

    def read(self) -> Mapping[str, float]:
        """Give the groups that used any."""
        time.sleep(SETTLE_S)
        after = totals(beneath(self._roots))
        used = {name: after[name] - self._before[name] for name in GROUPS}
        return {name: seconds for name, seconds in used.items() if seconds > 0}


def parse(pid: int, stat: str, command: str) -> Process:
    """Read a line of /proc/<pid>/stat (proc(5): ppid is field 4, utime to cstime are 14 to 17)."""
    fields = stat.rpartition(")")[2].split()
    own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return Process(
        pid=pid, parent=int(fields[1]), command=command, own_s=own * TICK_S, reaped_s=reaped * TICK_S
    )  # fmt: skip


def _all() -> list[Process]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            place = Path("/proc", name)
            try:
                command = place.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found.append(parse(int(name), place.joinpath("stat").read_text(), command))
            except OSError:
                continue  # it ended meanwhile
    return found
