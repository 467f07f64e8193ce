"""What users see in the long run: TPC-B with PostgreSQL's default checkpoints, long enough that some fall into it.

After a checkpoint stock PostgreSQL writes each page whole into its log when it is changed first; Borealis has no need
to (`full_page_writes`), so bytes of log a transaction are told beside the rate, and the longest transaction of all.
Turns of the configurations alternate, and each one of a stock server begins behind a checkpoint: in steady state one
follows the other, and one that is still under way would burden the next configuration's turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.pgbench import Database, PgBench
from benchmarks.processes import BenchmarkFailed
from benchmarks.settings import ask
from benchmarks.tpcb import BOREALIS, Say, Target, order, spread

CLIENTS: Final = 16
KEY: Final = f"sustained.c{CLIENTS}"
BASELINES: Final = ("any4", "any4tls")
ALIKE: Final = ("checkpoint_timeout", "max_wal_size", "checkpoint_completion_target", "shared_buffers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One configuration's turn."""

    tps: float
    transactions: int
    wal_bytes: int
    longest_ms: float


def prepare(bench: PgBench, targets: Mapping[str, Target], *, scale: int, warm_s: float, say: Say) -> None:
    """Load and warm all; BenchmarkFailed if their checkpoints are not set alike."""
    told = {name: ask(target.database) for name, target in targets.items()}
    for setting in ALIKE:
        if len({each[setting] for each in told.values()}) > 1:
            raise BenchmarkFailed(f"{setting} differs: { ({name: each[setting] for name, each in told.items()}) }")
    for name, target in targets.items():
        say(f"loading scale {scale} into {name}")
        bench.load(target.database, scale)
        bench.measure(target.database, clients=CLIENTS, seconds=warm_s)


def measure(
    bench: PgBench, targets: Mapping[str, Target], *, rounds: int, seconds: float, say: Say
) -> dict[str, Sequence[Turn]]:  # fmt: skip
    """Give a turn of each configuration and round."""
    found: dict[str, list[Turn]] = {name: [] for name in targets}
    for number in range(rounds):
        for name in order(list(targets), number):
            found[name].append(turn := _turn(bench, targets[name].database, name, seconds))
            each = turn.wal_bytes / turn.transactions
            say(
                f"round {number + 1}/{rounds}, sustained, {name}: {turn.tps:.0f} tps, {each:.0f} bytes of log a "
                f"transaction, longest {turn.longest_ms:.0f} ms"
            )
    return {name: turns for name, turns in found.items()}


def _turn(bench: PgBench, database: Database, name: str, seconds: float) -> Turn:
    if name != BOREALIS:
        _checkpoint(database)
    before = _position(database)
    measured = bench.measure(database, clients=CLIENTS, seconds=seconds)
    return Turn(
        tps=measured.tps,
        transactions=measured.transactions,
        wal_bytes=_position(database) - before,
        longest_ms=max(measured.latencies),
    )


def _checkpoint(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("CHECKPOINT")


def _position(database: Database) -> int:
    """Give the end of the log in bytes."""
    with database.connect() as connection:
        row = connection.execute("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint").fetchone()
    assert row is not None
    return int(str(row[0]))


def summarise(found: Mapping[str, Sequence[Turn]]) -> dict[str, float]:
    """Give the ratios round by round, and of all turns together the rate, the log of a transaction, the longest one."""
    summary: dict[str, float] = {}
    rates = {name: [turn.tps for turn in turns] for name, turns in found.items()}
    for baseline in BASELINES:
        if baseline in rates:
            summary |= spread(f"{KEY}.vs_{baseline}", rates[BOREALIS], rates[baseline])
    for name, turns in found.items():
        own = KEY if name == BOREALIS else f"{KEY}.{name}"
        summary[f"{KEY}.{name}.tps"] = round(sum(rates[name]) / len(turns), 1)
        summary[f"{own}.wal_bytes"] = round(sum(t.wal_bytes for t in turns) / sum(t.transactions for t in turns))
        summary[f"{own}.max_ms"] = round(max(turn.longest_ms for turn in turns), 1)
    return summary
