"""pgbench against one database: the same tables, the same way in, and the same commands for every configuration.

Clients connect over TCP without TLS to PostgreSQL itself: what lies in front of it (a Service) is not what is compared.
pgbench logs the latency of every transaction, alike for all.
"""

import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.processes import BenchmarkFailed, run

TABLES: Final = ("pgbench_accounts", "pgbench_branches", "pgbench_history", "pgbench_tellers")
TPCB: Final = ("--builtin=tpcb-like",)
SIMPLE: Final = ("--builtin=simple-update",)
_TPS: Final = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_LATENCY: Final = re.compile(r"^latency average = ([0-9.]+) ms", re.MULTILINE)
_COUNT: Final = re.compile(r"^number of transactions actually processed: ([0-9]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where a database is."""

    host: str
    port: int
    user: str
    name: str
    password: str = ""

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Open a connection in autocommit mode."""
        return psycopg.connect(self.conninfo, password=self.password or None, autocommit=True, connect_timeout=10)

    @property
    def conninfo(self) -> str:
        """Give it without the password."""
        return f"host={self.host} port={self.port} user={self.user} dbname={self.name} sslmode=disable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of pgbench says; `latencies` are of every transaction, in milliseconds, in no order."""

    tps: float
    latency_ms: float
    transactions: int
    latencies: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PgBench:
    """pgbench of one PostgreSQL installation."""

    program: str
    scratch: Path

    def load(self, database: Database, scale: int) -> None:
        """Make the tables anew, with autovacuum off on them so that none falls into somebody's measurement."""
        self._run(database, "--initialize", "--quiet", f"--scale={scale}")
        with database.connect() as connection:
            for table in TABLES:
                connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
                connection.execute(f"SELECT count(*) FROM {table}".encode())

    def measure(
        self, database: Database, *, clients: int, seconds: float, script: Sequence[str] = TPCB
    ) -> Measured:  # fmt: skip
        """Run a script for some seconds."""
        with tempfile.TemporaryDirectory(prefix="pgbench-", dir=self.scratch) as folder:
            words = (
                *script, f"--client={clients}", f"--jobs={min(clients, 2)}", f"--time={max(1, round(seconds))}",
                "--no-vacuum", "--log", f"--log-prefix={folder}/log",
            )  # fmt: skip
            told = parse(self._run(database, *words))
            texts = [path.read_text() for path in Path(folder).iterdir()]
        return Measured(
            tps=told.tps, latency_ms=told.latency_ms, transactions=told.transactions, latencies=parse_log(texts)
        )

    def _run(self, database: Database, *words: str) -> str:
        env = {"PGPASSWORD": database.password} if database.password else {}
        return run([self.program, *words, database.conninfo], cwd=self.scratch, env=env)


def parse(output: str) -> Measured:
    """Read pgbench's report; BenchmarkFailed if a transaction failed or there is no rate."""
    tps, latency, count = _TPS.search(output), _LATENCY.search(output), _COUNT.search(output)
    if tps is None or latency is None or count is None:
        raise BenchmarkFailed(f"pgbench gave no rate: {output[-500:]}")
    failed = re.search(r"^number of failed transactions: ([1-9][0-9]*)", output, re.MULTILINE)
    if failed is not None:
        raise BenchmarkFailed(f"pgbench: {failed[1]} transactions failed")
    return Measured(tps=float(tps[1]), latency_ms=float(latency[1]), transactions=int(count[1]))


def parse_log(texts: Iterable[str]) -> tuple[float, ...]:
    """Read the milliseconds of each transaction from pgbench's logs: the third column, in microseconds."""
    return tuple(int(line.split(" ", 3)[2]) / 1000 for text in texts for line in text.splitlines())


def percentile(values: Iterable[float], share: float) -> float:
    """Give the value below which `share` of all lie; BenchmarkFailed if there are none."""
    ordered = sorted(values)
    if not ordered:
        raise BenchmarkFailed("no transaction was logged")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
