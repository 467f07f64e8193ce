"""How much memory there is: of the container, or else of the machine."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

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
