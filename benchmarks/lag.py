"""Commit to visible: how long after its COMMIT returned a row is seen on a reader.

One process, one clock: it commits a row on the writer and asks the reader for it again and again. What is measured
begins when the client knows that the commit is durable, and includes the reader's answer.
"""

import time
from dataclasses import dataclass
from typing import Final, TypeAlias

import psycopg

from benchmarks.pgbench import Database
from benchmarks.processes import BenchmarkFailed

LIMIT_S: Final = 10.0
PAUSE_S: Final = 0.005  # between probes
Connection: TypeAlias = "psycopg.Connection[tuple[object, ...]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Milliseconds from the acknowledged commit to the row's being visible."""

    p50_ms: float
    p99_ms: float
    probes: int


def measure(writer: Database, reader: Database, *, probes: int) -> Lag:
    """Probe one after another on an otherwise idle cluster."""
    taken = []
    with writer.connect() as ours, reader.connect() as theirs:
        ours.execute("CREATE TABLE IF NOT EXISTS borealis_lag (id int PRIMARY KEY)")
        ours.execute("TRUNCATE borealis_lag")
        _await_table(theirs)
        for number in range(probes):
            ours.execute("INSERT INTO borealis_lag VALUES (%s)", (number,))
            taken.append(_until_seen(theirs, number))
            time.sleep(PAUSE_S)
    ordered = sorted(taken)
    p50, p99 = (round(1000 * ordered[int(len(ordered) * share)], 2) for share in (0.5, 0.99))
    return Lag(p50_ms=p50, p99_ms=p99, probes=probes)


def _until_seen(reader: Connection, number: int) -> float:
    began = time.perf_counter()
    while reader.execute("SELECT 1 FROM borealis_lag WHERE id = %s", (number,)).fetchone() is None:
        if time.perf_counter() - began > LIMIT_S:
            raise BenchmarkFailed(f"a row is not visible on the reader after {LIMIT_S:.0f} s")
    return time.perf_counter() - began


def _await_table(reader: Connection) -> None:
    until = time.monotonic() + LIMIT_S
    while True:
        row = reader.execute("SELECT to_regclass('borealis_lag')").fetchone()
        if row is not None and row[0] is not None:
            count = reader.execute("SELECT count(*) FROM borealis_lag").fetchone()
            if count == (0,):
                return
        if time.monotonic() > until:
            raise BenchmarkFailed("the reader does not see the probe's table")
        time.sleep(0.05)
