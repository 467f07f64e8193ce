"""Repair: a member that was away while much was written comes back and catches up from its peers.

Its Kubernetes node loses power, so its processes die and its disk stays; log is written; power returns. In rounds on an
idle volume, where the rate is compared with that of a plain copy of as much journal between the same directories right
after it; and in rounds while clients commit, whose latency is compared with that of healthy times right before. What a
member's start costs them, until it answers, is told apart from what it costs that it catches up. (A member that takes
the place of another one pulls in the same way, and image 0 and the older log besides.)
"""

import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import bulk
from benchmarks.cluster import Cluster
from benchmarks.gray import Commits, settle
from benchmarks.members import Member, Standing, ask
from benchmarks.pgbench import percentile
from benchmarks.processes import BenchmarkFailed
from benchmarks.tpcb import Say, spread

LIMIT_S: Final = 300.0
POLL_S: Final = 0.05
SLICE_S: Final = 1.0  # of commits; one after the other
GOING_S: Final = 1.0  # for a power cut to be one
LOADS: Final = 4  # COPYs that write the log: what a crash would take back is never all of it
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """How a member came back."""

    megabytes: float  # of log that was missing
    seconds: float  # from its first answer until it was current
    away_s: float  # from the power's return until then
    answered_at: float  # its first answer, of time.monotonic

    @property
    def rate(self) -> float:
        """MB/s."""
        return self.megabytes / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """How a member came back while clients committed: p99 of commits, in milliseconds."""

    back: Return
    healthy_ms: float
    starting_ms: float  # until it answered
    during_ms: float  # from then on until it was current


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What the repairs took."""

    idle: list[Return]
    copied_mb_s: list[float]  # right after each of those
    loaded: list[Loaded]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Commits of a second or so."""

    began: float  # of time.monotonic
    taken: tuple[float, ...]  # milliseconds of each


def measure(cluster: Cluster, commits: Commits, *, rounds: int, megabytes: float, seconds: float, say: Say) -> Repair:
    """Measure repairs of so much log on an idle volume, and of a quarter while clients commit, `rounds` of each.

    Healthy commits for `seconds` before each of the latter.
    """
    settle(cluster)
    victim = choose(cluster)
    idle, copied = zip(*(_idle(cluster, victim, megabytes, say) for _ in range(rounds)), strict=True)
    loaded = [_loaded(cluster, commits, victim, megabytes / LOADS, seconds, say) for _ in range(rounds)]
    return Repair(idle=list(idle), copied_mb_s=list(copied), loaded=loaded)


def _loaded(
    cluster: Cluster, commits: Commits, victim: Member, megabytes: float, seconds: float, say: Say
) -> Loaded:  # fmt: skip
    settle(cluster)
    until = time.monotonic() + seconds
    healthy = list[Slice]()
    while time.monotonic() < until:
        healthy.append(_slice(commits))
    on_at = _sent_away(cluster, victim, megabytes, say)
    back, slices = _under_load(commits, lambda: _await_return(victim.address, on_at))
    starting, during = split(slices, back.answered_at)
    found = Loaded(back=back, healthy_ms=p99(healthy), starting_ms=p99(starting), during_ms=p99(during))
    say(
        f"{victim.name} caught {back.megabytes:.0f} MB up in {back.seconds:.1f} s while clients committed, p99 in ms: "
        f"healthy {found.healthy_ms:.1f}, at its start {found.starting_ms:.1f}, during {found.during_ms:.1f}"
    )
    return found


def split(slices: list[Slice], answered_at: float) -> tuple[list[Slice], list[Slice]]:
    """Give those that began before a member answered, and those after; the last one stands for either if none did."""
    starting = [each for each in slices if each.began < answered_at]
    during = [each for each in slices if each.began >= answered_at]
    return starting or slices[:1], during or slices[-1:]


def p99(slices: list[Slice]) -> float:
    """Give the 99th percentile of all their commits."""
    return percentile((taken for each in slices for taken in each.taken), 0.99)


def _idle(cluster: Cluster, victim: Member, megabytes: float, say: Say) -> tuple[Return, float]:
    """Repair so much, then copy as much; give MB/s of the copy too."""
    idle = _await_return(victim.address, _sent_away(cluster, victim, megabytes, say))
    settle(cluster)
    copied = copy_journal(cluster, victim, round(idle.megabytes * bulk.MB))
    say(f"{victim.name} caught {idle.megabytes:.0f} MB up in {idle.seconds:.1f} s: {idle.rate / copied:.2f} of a copy")
    return idle, copied


def _sent_away(cluster: Cluster, victim: Member, megabytes: float, say: Say) -> float:
    """Have a member miss so much log; give when its power was back."""
    with _without_power(cluster, victim):
        say(f"{victim.name} is away while {megabytes:.0f} MB are loaded")
        for _ in range(LOADS):
            bulk.load(cluster.database, megabytes / LOADS)
    return time.monotonic()


def choose(cluster: Cluster) -> Member:
    """Give a member whose node does not run the writer."""
    taken = cluster.writer_node()
    return next(member for member in cluster.members() if member.node != taken)


@contextmanager
def _without_power(cluster: Cluster, member: Member) -> Iterator[None]:
    try:
        cluster.power(member.node, on=False)
        time.sleep(GOING_S)
        yield
    finally:
        cluster.power(member.node, on=True)


def _slice(commits: Commits) -> Slice:
    return Slice(began=time.monotonic(), taken=commits.run(SLICE_S))


def _under_load(commits: Commits, work: Callable[[], T]) -> tuple[T, list[Slice]]:
    """Do `work` in a thread while clients commit; give its result and the commits meanwhile."""
    result, slices = Future[T](), list[Slice]()

    def run() -> None:
        try:
            result.set_result(work())
        except Exception as error:  # noqa: BLE001 (raised again in the thread that waits)
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()  # not an executor's: those are waited for after Ctrl-C
    while not result.done():
        slices.append(_slice(commits))
    return result.result(), slices


def _await_return(address: str, since: float) -> Return:
    """Wait until the member is current, whose power returned at `since`."""
    first: tuple[int, float] | None = None
    told: Standing | None = None
    while (now := time.monotonic()) < since + LIMIT_S:
        told = ask(address)
        if told is not None and first is None:
            first = told.flush, now
        if told is not None and first is not None and told.current:
            missed = (told.flush - first[0]) / bulk.MB
            return Return(megabytes=missed, seconds=now - first[1], away_s=now - since, answered_at=first[1])
        time.sleep(POLL_S)
    raise BenchmarkFailed(f"the storage node at {address} did not catch up within {LIMIT_S:.0f} s: {told}")


def copy_journal(cluster: Cluster, member: Member, size: int) -> float:
    """Copy the newest files of another member's journal, about `size` bytes, beside the member's disk; give MB/s."""
    donor = next(other for other in cluster.members() if other.name != member.name)
    files = newest(cluster.disk(donor), size)
    target = cluster.disk(member) / "benchmark-copy"
    target.mkdir()
    try:
        began = time.perf_counter()
        total = sum(_copy(path, target / path.name) for path in files)
        return total / bulk.MB / (time.perf_counter() - began)
    finally:
        shutil.rmtree(target)


def newest(disk: Path, size: int) -> list[Path]:
    """Give the newest log files beneath a member's disk, so many as hold `size` bytes."""
    files = sorted(disk.rglob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
    chosen, total = list[Path](), 0
    for path in files:
        if total >= size:
            break
        chosen.append(path)
        total += path.stat().st_size
    if not chosen:
        raise BenchmarkFailed(f"no journal lies in {disk}")
    return chosen


def _copy(source: Path, target: Path) -> int:
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fdatasync(writing.fileno())
        return writing.tell()


def summarise(repair: Repair) -> dict[str, float]:
    """Give what goes into the results: medians of the rounds."""
    rates, healthy = [each.rate for each in repair.idle], [each.healthy_ms for each in repair.loaded]
    backs = [each.back for each in repair.loaded]
    return {
        **spread("repair.vs_copy", rates, repair.copied_mb_s),
        **spread("repair.commit_p99_ratio", [each.during_ms for each in repair.loaded], healthy),
        **spread("repair.start_p99_ratio", [each.starting_ms for each in repair.loaded], healthy),
        "repair.mb": round(statistics.median(each.megabytes for each in repair.idle)),
        "repair.mb_s": round(statistics.median(rates), 1),
        "repair.copy_mb_s": round(statistics.median(repair.copied_mb_s), 1),
        "repair.until_current_s": round(statistics.median(each.away_s for each in repair.idle), 2),
        "repair.loaded.mb": round(statistics.median(each.megabytes for each in backs)),
        "repair.loaded.mb_s": round(statistics.median(each.rate for each in backs), 1),
        "repair.healthy.p99_ms": round(statistics.median(healthy), 3),
        "repair.during.p99_ms": round(statistics.median(each.during_ms for each in repair.loaded), 3),
    }
