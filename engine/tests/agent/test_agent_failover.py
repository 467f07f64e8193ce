"""Six storage nodes and three agents as real processes: creation, failover, return, and a writer that was frozen."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract import names
from borealis_engine.contract.status import DatabaseSpec, Role
from borealis_engine.net.testing import StorageNodes
from borealis_engine.postgres.testing import Agent
from borealis_engine.postgres.testing.agents import DEADLINE_S

pytestmark = pytest.mark.postgres
LEASE_S = 4.0
LONG_LEASE_S = 300.0
SPEC = DatabaseSpec(master_username="Ma ster", master_password="s3'cret", database_name="app", digest="d1")


@pytest.fixture
async def agents(folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[list[Agent]]:
    async with StorageNodes(folder, lease_s=getattr(request, "param", LEASE_S)) as nodes:
        made = [Agent(nodes, folder, number) for number in range(3)]
        try:
            await asyncio.gather(*(agent.start() for agent in made))
            yield made
        finally:
            for agent in made:
                send(signal.SIGCONT, agent.postgres())
                await agent.kill()


async def create(agents: list[Agent]) -> Agent:
    """Make the first instance the writer of a new volume and wait for two readers."""
    first = agents[0]
    await asyncio.gather(*(agent.until(lambda status: status.role is Role.STARTING) for agent in agents))
    assert await first.post(names.PROMOTE) == 202
    status = await first.ready(Role.WRITER)
    assert status.epoch >= 2
    assert await agents[1].apply(SPEC) == 409
    assert await first.apply(SPEC) == 200
    assert await first.apply(SPEC) == 200
    for agent in agents[1:]:
        await agent.ready(Role.READER)
    return first


class Load:
    """Commits numbered rows until it cannot; `acked` are those whose commit was acknowledged."""

    def __init__(self) -> None:
        self.acked: list[int] = []

    async def run(self, writer: Agent, start: int) -> None:
        with suppress(psycopg.Error):
            async with await writer.connect(SPEC) as connection:
                await connection.execute("create table if not exists t(i int primary key)")
                number = start
                while True:
                    await connection.execute("insert into t values (%s)", (number,))
                    self.acked.append(number)
                    number += 1


async def rows(agent: Agent) -> set[int]:
    async with await agent.connect(SPEC) as connection:
        cursor = await connection.execute("select i from t")
        return {int(str(row[0])) for row in await cursor.fetchall()}


async def caught_up(agent: Agent, epoch: int, lsn: int) -> None:
    await agent.until(lambda s: s.role is Role.READER and s.ready and s.epoch == epoch and s.replay_lsn >= lsn)


async def test_creation_failover_under_load_and_the_old_writer_s_return(agents: list[Agent]) -> None:
    writer, load = await create(agents), Load()
    task = asyncio.create_task(load.run(writer, 1))
    async with asyncio.timeout(DEADLINE_S):
        while len(load.acked) < 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    pid = agents[2].postmaster()
    os.kill(writer.postmaster(), signal.SIGKILL)
    await task
    await writer.until(lambda status: status.role is not Role.WRITER)

    successor = agents[1]
    assert await successor.post(names.PROMOTE) == 202
    status = await successor.ready(Role.WRITER)
    assert set(load.acked) <= await rows(successor)
    await asyncio.wait_for(asyncio.gather(more(successor, load)), DEADLINE_S)
    status = await successor.status()
    for agent in (agents[0], agents[2]):
        await caught_up(agent, status.epoch, status.durable_lsn)
        assert set(load.acked) <= await rows(agent)
    assert agents[2].postmaster() == pid  # it followed without a restart
    assert (await agents[2].status()).lag_seconds == 0


async def test_a_second_candidate_asked_while_a_writer_was_just_elected_is_a_reader_again(agents: list[Agent]) -> None:
    """It stayed promoting, hence out of the reader endpoint, for twice the lease and 8 s."""
    writer = await create(agents)
    os.kill(writer.postmaster(), signal.SIGKILL)
    await writer.until(lambda status: status.role is not Role.WRITER)
    assert await agents[1].post(names.PROMOTE) == 202
    await agents[1].ready(Role.WRITER)
    assert await agents[2].post(names.PROMOTE) == 202
    status = await agents[2].until(lambda status: "not elected" in status.message)
    assert "another owner lives" in status.message
    await agents[2].ready(Role.READER)
    await agents[1].ready(Role.WRITER)


async def more(writer: Agent, load: Load) -> None:
    start = max(load.acked) + 1_000
    async with await writer.connect(SPEC) as connection:
        for number in range(start, start + 20):
            await connection.execute("insert into t values (%s)", (number,))
            load.acked.append(number)


async def test_a_frozen_writer_cannot_commit_after_its_successor_was_elected(agents: list[Agent]) -> None:
    writer, load = await create(agents), Load()
    await seed(writer, load)
    async with await writer.connect(SPEC) as connection:
        await connection.execute("begin")
        await connection.execute("insert into t values (-1)")
        assert writer.process is not None
        frozen = [writer.process.pid, *writer.postgres()]
        send(signal.SIGSTOP, frozen)
        assert await agents[1].post(names.PROMOTE) == 202
        status = await agents[1].ready(Role.WRITER)
        send(signal.SIGCONT, frozen[::-1])
        with pytest.raises(psycopg.Error):
            await asyncio.wait_for(connection.execute("commit"), DEADLINE_S)
    assert await rows(agents[1]) == set(load.acked)
    await caught_up(writer, status.epoch, status.durable_lsn)
    assert -1 not in await rows(writer)


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Signal processes, some of which may have ended since they were listed."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def seed(writer: Agent, load: Load) -> None:
    async with await writer.connect(SPEC) as connection:
        await connection.execute("create table t(i int primary key)")
        await connection.execute("insert into t select generate_series(1, 50)")
        load.acked += range(1, 51)


PATIENT_LEASE_S = 8.0  # the writer waits long enough for a commit to be cancelled


@pytest.mark.parametrize("agents", [PATIENT_LEASE_S], indirect=True)
@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_a_commit_that_no_longer_waits_ends_the_reign_and_is_not_seen(agents: list[Agent], how: str) -> None:
    writer, load, nodes = await create(agents), Load(), agents[0].nodes
    await seed(writer, load)
    async with await writer.connect(SPEC) as client, await writer.connect(SPEC) as other:
        pid, before = client.info.backend_pid, writer.postgres()
        await nodes.kill(0, 1, 2, 3)
        commit = asyncio.create_task(client.execute("insert into t values (-1)"))
        await waits_for_the_volume(other, pid)
        with suppress(psycopg.Error):
            await other.execute(f"select {how}(%s)", (pid,))
        await asyncio.gather(commit, return_exceptions=True)
        await writer.until(lambda status: status.role is not Role.WRITER, PATIENT_LEASE_S / 2)  # not for the lease
        await no_postgres(writer, before)
    assert "outcome is unknown" in writer.log()
    await nodes.kill(4, 5)  # who hold the row
    await nodes.start(0, 1, 2, 3, format_disk=False)
    assert await agents[1].post(names.PROMOTE) == 202
    status = await agents[1].ready(Role.WRITER)
    assert await rows(agents[1]) == set(load.acked)
    await nodes.start(4, 5, format_disk=False)
    for number in (4, 5):
        await nodes.reaches(number, epoch=status.epoch, flush=status.durable_lsn)
    assert await rows(agents[1]) == set(load.acked)


async def no_postgres(agent: Agent, before: set[int]) -> None:
    """Wait until none of these processes runs."""
    async with asyncio.timeout(DEADLINE_S):
        while agent.postgres() & before:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def waits_for_the_volume(connection: "psycopg.AsyncConnection[tuple[object, ...]]", pid: int) -> None:
    query = "select wait_event from pg_stat_activity where pid = %s"
    async with asyncio.timeout(DEADLINE_S):
        while await (await connection.execute(query, (pid,))).fetchone() != ("SyncRep",):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("agents", [LONG_LEASE_S], indirect=True)
async def test_after_sigterm_a_writer_is_gone_and_its_successor_need_not_wait_for_the_lease(
    agents: list[Agent], record_property: Callable[[str, object], None]
) -> None:
    writer, load = await create(agents), Load()
    await seed(writer, load)
    assert writer.process is not None
    began = asyncio.get_running_loop().time()
    writer.process.terminate()
    assert await writer.ended() == 0
    assert not writer.postgres()
    assert await agents[2].post(names.PROMOTE) == 202
    await agents[2].ready(Role.WRITER, LONG_LEASE_S / 2)
    record_property("seconds from SIGTERM to the next writer", asyncio.get_running_loop().time() - began)
    assert await rows(agents[2]) == set(load.acked)
    assert "s3'cret" not in "".join(agent.log() for agent in agents)
