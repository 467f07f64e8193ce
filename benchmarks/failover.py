"""Failover and readers of a cluster under load: the seconds that a client notices.

A kill is SIGKILL to the writer's PostgreSQL. The seconds of a failover are those without an acknowledged commit, as the
ledger's clients wrote them down, connecting to the writer endpoint like any application.
"""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

from borealis_local.ledger.book import Outcome, read_book

from benchmarks.cluster import Cluster
from benchmarks.processes import BenchmarkFailed, end
from benchmarks.tpcb import Say

READERS: Final = 2
CLIENTS: Final = 4
SETTLE_S: Final = 2.0  # of load before each kill
LIMIT_S: Final = 90.0


def kills(cluster: Cluster, scratch: Path, *, count: int, say: Say) -> list[float]:
    """Kill the writer's PostgreSQL `count` times under load; give the seconds without a commit of each."""
    book, moments = scratch / "book.jsonl", list[float]()
    load = cluster.ledger(book, scratch / "ledger.log", clients=CLIENTS)
    try:
        _await_commit(book, 0.0, scratch)
        for number in range(count):
            time.sleep(SETTLE_S)
            moments.append(time.time())
            cluster.kill_writer()
            _await_commit(book, moments[-1] + 0.2, scratch)
            cluster.until(lambda: cluster.whole(READERS), "the cluster does not become whole after a kill")
            say(f"kill {number + 1}/{count}: {gaps(book, moments)[-1]:.2f} s without a commit")
    finally:
        end(load)
    return gaps(book, moments)


def gaps(book: Path, moments: list[float]) -> list[float]:
    """Give for each moment the longest time between two acknowledged commits from there to the next moment."""
    _, entries = read_book(book)
    ends = sorted(entry.end for entry in entries if entry.outcome is Outcome.ACKED)
    return [longest(ends, since, until) for since, until in zip(moments, [*moments[1:], float("inf")], strict=True)]


def longest(ends: list[float], since: float, until: float) -> float:
    """Give the longest time without a commit that touches [since, until)."""
    spans = [(a, b) for a, b in pairwise(ends) if b > since and a < until]
    return max((b - a for a, b in spans), default=0.0)


def add_reader(cluster: Cluster, *, readers: int) -> float:
    """Scale up by one; give the seconds until the new reader is ready and answers a query."""
    before = set(cluster.readers())
    began = time.monotonic()
    cluster.scale(readers + 1)
    cluster.until(lambda: len(set(cluster.readers()) - before) == 1, "the new reader does not become ready")
    (pod,) = set(cluster.readers()) - before
    with cluster.instance(pod).connect() as connection:
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    if row is None or row[0] is not True:
        raise BenchmarkFailed(f"{pod} is no reader")
    return time.monotonic() - began


def _await_commit(book: Path, since: float, scratch: Path) -> None:
    """Wait until a commit that began after `since` is acknowledged."""
    deadline, offset = time.monotonic() + LIMIT_S, 0
    while time.monotonic() < deadline:
        if book.exists():
            with book.open("rb") as file:
                file.seek(offset)
                lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            offset += len(whole)
            if any(_acked_since(line, since) for line in whole.splitlines()):
                return
        time.sleep(0.05)
    said = (scratch / "ledger.log").read_text(errors="replace")[-800:]
    raise BenchmarkFailed(f"no commit was acknowledged for {LIMIT_S:.0f} s: {said}")


def _acked_since(line: bytes, since: float) -> bool:
    entry = json.loads(line)
    return bool(entry.get("outcome") == Outcome.ACKED.value and entry["start"] > since)
