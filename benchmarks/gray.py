"""Gray failures: members that are slow or frozen rather than dead, and what the clients notice of them.

Invariant: healthy and ailing rounds alternate on one cluster, and a round begins only when all six members are current;
so a ratio compares commits that lie seconds apart. A commit is one INSERT of a row: nothing dilutes the wait for four.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cluster import Cluster
from benchmarks.members import Member, await_current, delayed, frozen
from benchmarks.pgbench import Database, PgBench, percentile
from benchmarks.tpcb import Say, order, spread

CLIENTS: Final = 4
CURRENT_S: Final = 60.0
COMMIT: Final = "INSERT INTO borealis_commits VALUES (1, repeat('x', 100));\n"
CASES: Final = ("healthy", "delayed", "frozen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """A script of pgbench that commits one row at a time."""

    bench: PgBench
    database: Database
    script: Path

    @classmethod
    def prepare(cls, bench: PgBench, database: Database) -> "Commits":
        """Make the table and the script."""
        script = bench.scratch / "commit.sql"
        script.write_text(COMMIT)
        script.chmod(0o644)
        with database.connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS borealis_commits (id int, payload text)")
        return cls(bench=bench, database=database, script=script)

    def run(self, seconds: float) -> tuple[float, ...]:
        """Commit for some seconds; give the milliseconds of each."""
        words = (f"--file={self.script}",)
        return self.bench.measure(self.database, clients=CLIENTS, seconds=seconds, script=words).latencies


def measure(cluster: Cluster, commits: Commits, *, rounds: int, seconds: float, say: Say) -> dict[str, list[float]]:
    """Give the p99 in milliseconds of each case and round, and under `<case>.p50` the medians."""
    found: dict[str, list[float]] = {f"{case}{what}": [] for case in CASES for what in ("", ".p50")}
    for number in range(rounds):
        for case in order(CASES, number):
            settle(cluster)
            with _ailing(case, cluster.members()):
                taken = commits.run(seconds)
            found[case].append(percentile(taken, 0.99))
            found[f"{case}.p50"].append(percentile(taken, 0.5))
        last = ", ".join(f"{case} {found[case][-1]:.1f}" for case in CASES)
        say(f"round {number + 1}/{rounds}, p99 of commits in ms: {last}")
    settle(cluster)
    return found


def settle(cluster: Cluster) -> None:
    """Wait until every member holds all that is written now."""
    await_current([m.address for m in cluster.members()], flush=cluster.flushed(), limit_s=CURRENT_S)


@contextmanager
def _ailing(case: str, members: Sequence[Member]) -> Iterator[None]:
    """Members 0 and 4 are of two zones: two more in the third must not fail, and do not."""
    cases: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
        "healthy": nullcontext,
        "delayed": lambda: delayed([members[0], members[4]]),
        "frozen": lambda: frozen([members[0]]),
    }
    with cases[case]():
        yield


def summarise(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Give the ratios to the healthy rounds, and the medians of the absolute figures."""
    summary = spread("gray.commit_p99_ratio", found["delayed"], found["healthy"])
    summary |= spread("gray.frozen_p99_ratio", found["frozen"], found["healthy"])
    for case in CASES:
        summary[f"gray.{case}.p50_ms"] = round(statistics.median(found[f"{case}.p50"]), 3)
        summary[f"gray.{case}.p99_ms"] = round(statistics.median(found[case]), 3)
    return summary
