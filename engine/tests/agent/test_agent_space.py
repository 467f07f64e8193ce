"""Real PostgreSQL on storage nodes that run full: writing ends in time, nothing fails, and more room heals it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract import names
from borealis_engine.contract.status import DatabaseSpec, Role, StorageState
from borealis_engine.net.testing import StorageNodes
from borealis_engine.postgres.testing import Agent
from psycopg import errors

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
MIB = 1 << 20
DEADLINE_S = 60.0
SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="app", digest="d")
WIDE = "select g, repeat(md5(g::text), 40) as wide from generate_series(1, 700000) g"  # 900 MB
BEGIN = "begin read write"  # whoever says so is not kept by default_transaction_read_only


class Small:
    """A writer and a reader over six storage nodes with claims of 400 MiB."""

    def __init__(self, nodes: StorageNodes, writer: Agent, reader: Agent) -> None:
        self.nodes, self.writer, self.reader = nodes, writer, reader
        self.acked: list[int] = []
        self.reads = 0

    async def claim(self, size: int) -> None:
        for number in range(6):
            await self.nodes.hold(number, size)

    async def insert(self) -> None:
        """Commit numbered rows one by one, as long as that is allowed."""
        async with await self.writer.connect(SPEC) as connection:
            while True:
                number = len(self.acked)
                await connection.execute("insert into rows values (%s)", (number,))
                self.acked.append(number)
                await asyncio.sleep(0.01)

    async def read(self) -> None:
        """Read from the reader all along; any refusal fails the test."""
        async with await self.reader.connect(SPEC) as connection:
            while True:
                await connection.execute("select count(*) from rows")
                self.reads += 1
                await asyncio.sleep(0.05)

    async def on_writer(self, *statements: str) -> None:
        async with await self.writer.connect(SPEC) as connection:
            for statement in statements:
                await connection.execute(statement.encode())

    async def all_serve(self) -> None:
        for number in range(6):
            assert (await self.nodes.status(number)).state in (StorageState.CURRENT, StorageState.CATCHING_UP)
        assert (await self.reader.status()).ready


@pytest.fixture
async def small(folder: Path) -> AsyncIterator[Small]:
    async with StorageNodes(folder) as nodes:
        writer, reader = (Agent(nodes, folder, number) for number in range(2))
        try:
            await writer.start()
            await writer.lead(SPEC)
            await reader.start()
            await reader.ready(Role.READER)
            made = Small(nodes, writer, reader)
            await made.on_writer("create table rows (number int)")
            there = (await writer.status()).durable_lsn
            await reader.until(lambda status: status.replay_lsn >= there)
            await made.claim(400 * MIB)
            yield made
        finally:
            for agent in (writer, reader):
                await agent.kill()


async def copy(small: Small) -> None:
    """Have 800 MB streamed into a table by a session that insists on writing.

    PostgreSQL drops what still comes of a COPY that was cancelled, and psycopg asks for the outcome at the end alone.
    """
    async with await small.writer.connect(SPEC) as connection:
        await connection.execute(BEGIN)
        await connection.execute("create table copied (t text)")
        async with connection.cursor().copy("copy copied from stdin") as stream:
            for _ in range(100_000):
                await stream.write("x" * 8000 + "\n")


async def test_a_statement_that_would_fill_the_disks_is_cancelled_and_writing_goes_on_with_more_room(
    small: Small,
) -> None:
    inserting, reading = asyncio.ensure_future(small.insert()), asyncio.ensure_future(small.read())
    async with asyncio.timeout(DEADLINE_S):
        while not small.reads:  # noqa: ASYNC110 - before any commit of the table has reached it
            await asyncio.sleep(0.05)
    epoch = (await small.writer.status()).epoch
    with pytest.raises(errors.QueryCanceled):
        await small.on_writer(f"create table big as {WIDE}")
    status = await small.writer.until(lambda status: bool(status.full))
    assert "enlarge" in status.full
    with pytest.raises(errors.ReadOnlySqlTransaction):
        await inserting
    with pytest.raises(errors.ReadOnlySqlTransaction, match="CREATE TABLE"):
        await small.on_writer("create table small (a int)")
    for _ in range(2):
        with pytest.raises(errors.QueryCanceled):
            await small.on_writer(BEGIN, f"create table big as {WIDE}")
    with pytest.raises(psycopg.OperationalError):  # cancelled, or ended in the middle of a message
        await copy(small)
    await small.all_serve()
    assert (await small.writer.until(lambda status: status.ready)).epoch == epoch, small.writer.log()
    await small.claim(4096 * MIB)
    status = await small.writer.until(lambda status: not status.full)
    assert (status.role, status.epoch) == (Role.WRITER, epoch), small.writer.log()
    await small.on_writer("insert into rows values (-1)")
    async with await small.writer.connect(SPEC) as connection:
        found = await (await connection.execute("select number from rows where number >= 0 order by 1")).fetchall()
    assert small.acked
    assert {number for (number,) in found} >= set(small.acked)
    before = small.reads
    async with asyncio.timeout(DEADLINE_S):
        while small.reads == before:
            assert not reading.done(), await reading
            await asyncio.sleep(0.05)
    reading.cancel()


async def test_log_that_does_not_fit_ends_the_leadership_and_its_successor_serves_in_the_reserve(small: Small) -> None:
    """Room ends at once, as if something else had filled the disks: what waits is void, a reader takes over."""
    inserting, reading = asyncio.ensure_future(small.insert()), asyncio.ensure_future(small.read())
    async with asyncio.timeout(DEADLINE_S):
        while len(small.acked) < 20:
            assert not inserting.done(), await inserting
            await asyncio.sleep(0.05)
    await small.on_writer("create table several as select g, repeat('x', 1000) from generate_series(1, 20000) g")
    for number in range(6):
        await small.nodes.hold(number, (await small.nodes.status(number)).bytes_used + 24 * MIB)
    insisting = [asyncio.ensure_future(small.on_writer(*[BEGIN, "insert into rows values (-1)", "commit"] * 99999))
                 for _ in range(4)]  # fmt: skip
    await small.writer.until(lambda status: status.role is not Role.WRITER)
    assert "log beyond all room" in small.writer.log()
    with pytest.raises(psycopg.Error):
        await inserting
    for each in insisting:
        with pytest.raises(psycopg.Error):
            await each
    assert await small.reader.post(names.PROMOTE) == 202
    reading.cancel()
    await small.reader.until(lambda status: status.role is Role.WRITER and status.ready and bool(status.full))
    async with await small.reader.connect(SPEC) as connection:
        found = await (await connection.execute("select number from rows where number >= 0 order by 1")).fetchall()
        assert {number for (number,) in found} >= set(small.acked)
        with pytest.raises(errors.ReadOnlySqlTransaction):
            await connection.execute("insert into rows values (-1)")
        await small.claim(4096 * MIB)
        await small.reader.until(lambda status: not status.full)
        await connection.execute("insert into rows values (-1)")
