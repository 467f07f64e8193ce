"""Bulk load: COPY of long rows in one transaction, interleaved like pgbench's rounds.

Rows of 1 kB, so that it is the log and its copies which are measured rather than PostgreSQL's parsing. The seconds end
when COMMIT returns: then every byte is as durable as the configuration makes it.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.pgbench import Database
from benchmarks.tpcb import BASELINES, BOREALIS, Say, Target, order, spread

MB: Final = 1_000_000
ROW: Final = b"x" * 999 + b"\n"
PIECE: Final = ROW * 250
TABLE: Final = "borealis_bulk"


def load(database: Database, megabytes: float) -> float:
    """COPY so much into a fresh table, which is dropped again; give MB/s."""
    pieces = max(1, round(megabytes * MB / len(PIECE)))
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}".encode())
        cursor.execute(f"CREATE TABLE {TABLE} (payload text) WITH (autovacuum_enabled = false)".encode())
        began = time.perf_counter()
        with cursor.copy(f"COPY {TABLE} FROM STDIN".encode()) as copy:
            for _ in range(pieces):
                copy.write(PIECE)
        took = time.perf_counter() - began
        cursor.execute(f"DROP TABLE {TABLE}".encode())
    return pieces * len(PIECE) / MB / took


def measure(
    targets: Mapping[str, Target], *, rounds: int, megabytes: float, say: Say
) -> dict[str, Sequence[float]]:  # fmt: skip
    """Give MB/s of each configuration and round; `megabytes` are those of all rounds together."""
    found: dict[str, list[float]] = {name: [] for name in targets}
    for number in range(rounds):
        for name in order(list(targets), number):
            found[name].append(load(targets[name].database, megabytes / rounds))
        last = ", ".join(f"{name} {rates[-1]:.0f}" for name, rates in found.items())
        say(f"round {number + 1}/{rounds}, COPY: {last} MB/s")
    return {name: rates for name, rates in found.items()}


def summarise(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Give ratios and the medians of the absolute figures."""
    summary: dict[str, float] = {}
    for baseline in BASELINES:
        if baseline in found:
            summary |= spread(f"copy.vs_{baseline}", found[BOREALIS], found[baseline])
    for name, rates in found.items():
        summary[f"copy.{name}.mb_s"] = round(statistics.median(rates), 1)
    return summary
