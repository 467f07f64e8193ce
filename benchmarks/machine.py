"""What a figure depends on besides the code: the machine, its disk, and what else runs on it.

A figure without these is worth little, so they lie beside each one in the results.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from borealis_engine.postgres.binaries import Binaries

from benchmarks.processes import BenchmarkFailed

SYNCS: Final = 300
SYNC_BYTES: Final = 400  # as much as a small transaction logs
QUIET_BUSY: Final = 0.10  # share of the processors that others may use before we say so
SAMPLE_S: Final = 1.0
_UNFIT: Final = ("tmpfs", "ramfs")


def describe(directory: Path, binaries: Binaries) -> dict[str, str | float]:
    """Give the machine, the disk under `directory` and the load before the run, as flat keys."""
    latencies = sync_latencies(directory)
    return {
        "machine.cores": os.cpu_count() or 0,
        "machine.processor": _processor(),
        "machine.memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "machine.kernel": platform.release(),
        "machine.python": platform.python_version(),
        "machine.postgresql": binaries.version and f"{binaries.version}",
        "machine.filesystem": filesystem(directory),
        "machine.fdatasync.p50_us": round(1e6 * statistics.median(latencies)),
        "machine.fdatasync.p99_us": round(1e6 * latencies[int(len(latencies) * 0.99)]),
        "machine.load_before": round(os.getloadavg()[0], 2),
        "machine.busy_before": round(busy(), 3),
    }


def sync_latencies(directory: Path) -> list[float]:
    """Give the sorted seconds of small writes with fdatasync into a preallocated file."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        descriptor = file.fileno()
        os.write(descriptor, bytes(SYNCS * SYNC_BYTES))
        os.fsync(descriptor)
        for number in range(SYNCS):
            os.pwrite(descriptor, os.urandom(SYNC_BYTES), number * SYNC_BYTES)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - began)
    return sorted(taken)


def filesystem(directory: Path) -> str:
    """Give the type of the file system that holds `directory`."""
    place, best = directory.resolve(), ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if place.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def require_disk(directory: Path) -> None:
    """BenchmarkFailed if a sync there costs nothing because there is no disk."""
    kind = filesystem(directory)
    if kind in _UNFIT:
        raise BenchmarkFailed(f"{directory} is on {kind}, where a sync is free: name a directory on a disk (DIR=...)")


def busy(seconds: float = SAMPLE_S) -> float:
    """Give the share of all processors' time that is used now."""
    before = _times()
    time.sleep(seconds)
    after = _times()
    total = sum(after) - sum(before)
    idle = after[3] + after[4] - before[3] - before[4]
    return 1 - idle / total if total else 0.0


def warn_if_busy(share: float, say: Callable[[str], None]) -> None:
    """Say clearly that the figures will be of little worth."""
    if share > QUIET_BUSY:
        say(
            f"WARNING: other work uses {share:.0%} of the processors (load {os.getloadavg()[0]:.1f}). The absolute "
            "figures will be wrong and the ratios noisy: run it again on a quiet machine."
        )


def _times() -> list[int]:
    first = Path("/proc/stat").read_text().splitlines()[0]
    return [int(each) for each in first.split()[1:]]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
