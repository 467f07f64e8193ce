"""How much memory there is, of the container or else of the machine, and whether PostgreSQL would share too much."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from borealis_engine.postgres.account import Account
from borealis_engine.postgres.process import run
from borealis_engine.postgres.settings import MIB

SHARE: Final = 4  # a quarter of the memory is for buffers, one for what else is shared, the rest for sessions and files
LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
UNLIMITED: Final = 1 << 50  # bytes: what version 1 of cgroups says for "none" is above


def memory_limit() -> int | None:
    """Return the container's memory limit in bytes; None if there is none, or it cannot be seen."""
    for path in LIMITS:
        with suppress(OSError, ValueError):
            limit = int(path.read_text())
            return limit if limit < UNLIMITED else None
    return None


def memory() -> int:
    """Return the bytes of memory that this container, or this machine, has."""
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = memory_limit()
    return has if limit is None else min(has, limit)


def shortage(command: Sequence[str], account: Account | None, *, data: Path, buffers: int) -> str:
    """Return why a PostgreSQL with so many bytes of buffers would share too much memory; empty if it would not.

    CommandFailed if `command`, which starts it in `data`, is refused by itself.
    """
    needs = int(run([*command, "-C", "shared_memory_size"], account, cwd=data)) * MIB - buffers
    if needs <= (most := memory() // SHARE):
        return ""
    return (
        f"PostgreSQL would take {needs // MIB} MiB of memory beside its buffers, and {most // MIB} MiB are for that:"
        " choose a lower value or a larger instance class"
    )
