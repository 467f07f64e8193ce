"""Where the microseconds of a commit go: one client, and stamps on the way of each piece of log.

Six real storage node processes and a real agent, started as the engine's own tests start them, with a native library
that was built for this: it writes stamps, which the product's does not. All are of one machine's clock. What counts is
the fourth member to confirm: it makes the quorum.
"""

import asyncio
import os
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import psycopg
from borealis_engine import native
from borealis_engine.contract import names
from borealis_engine.contract.status import DatabaseSpec, Role
from borealis_engine.net.testing import StorageNodes
from borealis_engine.postgres.testing.agents import Agent

from benchmarks.processes import BenchmarkFailed

FOLDER: Final = "BOREALIS_BENCH_STAMPS"
SETTLE_S: Final = 1.0
QUORUM: Final = 4
PAYLOAD: Final = "x" * 100
Stamps: TypeAlias = Mapping[int, Mapping[str, int]]  # end of log -> name -> nanoseconds

_AGENT: Final = (
    ("read", "offered", "the agent reads WAL from PostgreSQL"),
    ("offered", "sent", "it is sent to the six members"),
)
_MEMBER: Final = (
    ("sent", "write", "on its way to the fourth member, which takes it in"),
    ("write", "synced", "it is written and flushed to the disk"),
    ("synced", "acked", "the member confirms"),
    ("acked", "heard", "the confirmation is on its way"),
)
_RELEASE: Final = (
    ("heard", "durable", "the agent counts to four"),
    ("durable", "released", "D is reported to PostgreSQL"),
)
TOTAL: Final = "a commit, as the client sees it"
REST: Final = "PostgreSQL and the client: all the rest"


def measure(directory: Path, *, commits: int) -> dict[str, float]:
    """Give the median microseconds of each stage as flat keys."""
    directory.mkdir()
    directory.chmod(0o755)
    stamps = directory / "stamps"
    stamps.mkdir()
    stamps.chmod(0o777)
    build = [str(native.FILE.with_name("build")), str(stamps / "libborealis.so")]
    built = subprocess.run(
        build, env={**os.environ, "CPPFLAGS": "-DSTAMPS"}, capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        raise BenchmarkFailed(f"the library with stamps cannot be built: {built.stderr.strip()}")
    with _environment({FOLDER: str(stamps), "PYTHONPATH": str(Path(__file__).with_name("traced"))}):
        taken = asyncio.run(_commit(directory, commits))
    by_process = [read(path) for path in sorted(stamps.glob("*.stamps"))]
    agents = [each for each in by_process if any("durable" in row for row in each.values())]
    members = [each for each in by_process if any("synced" in row for row in each.values())]
    if len(agents) != 1 or len(members) < QUORUM:
        raise BenchmarkFailed(f"stamps of {len(agents)} agents and {len(members)} storage nodes were found")
    return summarise(agents[0], members, statistics.median(taken) * 1e6)


async def _commit(directory: Path, commits: int) -> list[float]:
    """Start a volume and a writer, commit one row after another; give the seconds that each took."""
    async with StorageNodes(directory) as nodes:
        agent = Agent(nodes, directory, 0)
        await agent.start()
        try:
            await agent.until(lambda status: True)
            await agent.post(names.PROMOTE)
            await agent.ready(Role.WRITER)
            spec = DatabaseSpec(master_username="bench", master_password="bench-bench", database_name="app", digest="1")
            await agent.apply(spec)
            connection = await agent.connect(spec)
            async with connection:
                taken = await _insert(connection, commits)
            await asyncio.sleep(SETTLE_S)
        finally:
            await agent.kill()
    return taken


async def _insert(connection: "psycopg.AsyncConnection[tuple[object, ...]]", commits: int) -> list[float]:
    await connection.execute("CREATE TABLE stages (id int, payload text)")
    taken = []
    for number in range(commits):
        began = time.perf_counter()
        await connection.execute("INSERT INTO stages VALUES (%s, %s)", (number, PAYLOAD))
        taken.append(time.perf_counter() - began)
    return taken


def read(path: Path) -> dict[int, dict[str, int]]:
    """Read one process's stamps, the first of each name for each end of log."""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for line in path.read_text().splitlines():
        name, end, at = line.split()
        found[int(end)].setdefault(name, int(at))
        if name == "heard":
            found[int(end)].setdefault(f"heard{sum(key.startswith('heard') for key in found[int(end)])}", int(at))
    return dict(found)


def summarise(agent: Stamps, members: Sequence[Stamps], total_us: float) -> dict[str, float]:
    """Give the medians over all pieces of log that can be followed from end to end."""
    durations: dict[str, list[float]] = defaultdict(list)
    inside = []
    for end, own in agent.items():
        path = follow(own, [each[end] for each in members if end in each])
        if path is None:
            continue
        for first, last, title in (*_AGENT, *_MEMBER, *_RELEASE):
            durations[title].append((path[last] - path[first]) / 1e3)
        inside.append((path["released"] - path["read"]) / 1e3)
    if not inside:
        raise BenchmarkFailed("no piece of log could be followed from the agent to the disks and back")
    medians = {f"stages.{title}": round(statistics.median(row), 1) for title, row in durations.items()}
    rest = {f"stages.{REST}": round(total_us - statistics.median(inside), 1), f"stages.{TOTAL}": round(total_us, 1)}
    return {**medians, **rest}


def follow(own: Mapping[str, int], copies: Sequence[Mapping[str, int]]) -> dict[str, int] | None:
    """Give the stamps of one piece of log, of its fourth member among the copies; None if some are missing."""
    heard = sorted(at for key, at in own.items() if key.startswith("heard") and key != "heard")
    if len(heard) < QUORUM or not {"read", "offered", "sent", "durable", "released"} <= own.keys():
        return None
    whole = [copy for copy in copies if {"write", "synced", "acked"} <= copy.keys()]
    if len(whole) < QUORUM:
        return None
    fourth = sorted(whole, key=lambda copy: copy["acked"])[QUORUM - 1]
    return {**own, **fourth, "heard": heard[QUORUM - 1]}


@contextmanager
def _environment(extra: Mapping[str, str]) -> Iterator[None]:
    """Have variables in this process's environment, which the engine's test doubles pass on."""
    before = {name: os.environ.get(name) for name in extra}
    os.environ.update(extra)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
