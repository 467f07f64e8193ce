"""Commits that give up their wait for the volume, and users who only say so: what ends a reign, and what does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract.status import DatabaseSpec, Role
from borealis_engine.net.testing import StorageNodes
from borealis_engine.postgres.testing import Agent
from borealis_engine.postgres.testing.agents import DEADLINE_S

pytestmark = pytest.mark.postgres
LEASE_S = 12.0  # the bound is a quarter
SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="app", digest="d")
WORDS = "canceling wait for synchronous replication due to user request"
FORGED = (
    f"select 1/0 -- WARNING:  {WORDS}",
    f"do $$ begin raise warning '{WORDS}'; end $$",
    f"do $$ begin raise exception E'x\\nWARNING:  01000: {WORDS}\\nLOCATION:  SyncRepWaitForLSN, syncrep.c:1'; end $$",
    f'set application_name = "WARNING:  {WORDS}"; select 1/0',
)
ALL_LOCKS = "do $$ declare i int := 0; begin loop i := i + 1; perform pg_advisory_lock(i); end loop; end $$"
IN_A_BLOCK = "do $$ begin insert into t values (1); commit; end $$"  # else a timeout ends before the commit begins


@pytest.fixture
async def writer(folder: Path) -> AsyncIterator[Agent]:
    async with StorageNodes(folder, lease_s=LEASE_S) as nodes:
        agent = Agent(nodes, folder, 0)
        try:
            await agent.start()
            await agent.lead(SPEC)
            yield agent
        finally:
            await agent.kill()


async def test_no_text_that_users_have_logged_ends_a_reign(writer: Agent) -> None:
    epoch = (await writer.status()).epoch
    for statement in FORGED:
        async with await writer.connect(SPEC) as client:
            with suppress(psycopg.Error):
                await client.execute(statement.encode())
    async with await writer.connect(SPEC) as client:
        await client.execute("create table t(i int)")
        await client.execute("do $$ begin raise warning 'after them'; end $$")
    async with asyncio.timeout(DEADLINE_S):
        while "after them" not in writer.log():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert writer.log().count(WORDS) >= len(FORGED) - 1
    status = await writer.status()
    assert (status.role, status.epoch) == (Role.WRITER, epoch)


@pytest.mark.parametrize("how", ["statement_timeout", "pg_cancel_backend", "pg_terminate_backend"])
async def test_a_reign_outlives_a_wait_that_is_given_up_if_the_commit_is_durable_soon(writer: Agent, how: str) -> None:
    nodes, epoch = writer.nodes, (await writer.status()).epoch
    async with await writer.connect(SPEC) as client, await writer.connect(SPEC) as other:
        await client.execute("create table t(i int)")
        pid = client.info.backend_pid
        if how == "statement_timeout":
            await client.execute("set statement_timeout = '500ms'")
        async with nodes.frozen(0, 1, 2):
            insert = IN_A_BLOCK if how == "statement_timeout" else "insert into t values (1)"
            commit = asyncio.create_task(client.execute(insert))
            if how != "statement_timeout":
                await waits_for_the_volume(other, pid)
                await other.execute(f"select {how}(%s)".encode(), (pid,))
            await asyncio.wait({commit}, timeout=DEADLINE_S)
            assert (commit.exception() is None) is (how != "pg_terminate_backend")
        await other.execute("insert into t values (2)")
        rows = await (await other.execute("select i from t order by i")).fetchall()
        assert rows == [(1,), (2,)]
    with suppress(TimeoutError):  # longer than the guard waits
        await writer.until(lambda status: status.role is not Role.WRITER, LEASE_S / 2)
    status = await writer.status()
    assert (status.role, status.epoch) == (Role.WRITER, epoch)


async def test_many_waits_given_up_at_once_end_no_healthy_reign(writer: Agent) -> None:
    epoch = (await writer.status()).epoch

    async def insist(_: int) -> None:
        async with await writer.connect(SPEC) as client:
            await client.execute("set statement_timeout = 1")
            for _ in range(100):
                with suppress(psycopg.errors.QueryCanceled):
                    await client.execute(IN_A_BLOCK)

    async with await writer.connect(SPEC) as client:
        await client.execute("create table t(i int)")
    await asyncio.gather(*map(insist, range(16)))
    assert WORDS in writer.log()
    async with await writer.connect(SPEC) as holder, await writer.connect(SPEC) as client:
        await client.execute(IN_A_BLOCK)
        await client.execute("set statement_timeout = 2")
        with pytest.raises(psycopg.errors.OutOfMemory):
            await holder.execute(ALL_LOCKS)
        await holder.execute("select pg_advisory_unlock(1)")  # what a transaction needs
        await holder.execute("do $$ begin raise warning 'all locks are taken'; end $$")
        while WORDS not in writer.log().partition("all locks are taken")[2]:
            with suppress(psycopg.errors.QueryCanceled, psycopg.errors.OutOfMemory):
                await client.execute(IN_A_BLOCK)
        with suppress(TimeoutError):  # longer than the guard waits
            await writer.until(lambda status: status.role is not Role.WRITER, LEASE_S / 4 + 1)
    status = await writer.status()
    assert (status.role, status.epoch) == (Role.WRITER, epoch)


async def waits_for_the_volume(connection: "psycopg.AsyncConnection[tuple[object, ...]]", pid: int) -> None:
    query = "select wait_event from pg_stat_activity where pid = %s"
    async with asyncio.timeout(DEADLINE_S):
        while await (await connection.execute(query, (pid,))).fetchone() != ("SyncRep",):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
