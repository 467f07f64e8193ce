"""Who may replicate on a real PostgreSQL, and what becomes of slots: bounded on a writer, none on a reader."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract.names import REPLICATION
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.postgres.attached import Attached
from borealis_engine.postgres.binaries import Binaries
from borealis_engine.postgres.database import apply_spec, keep_master
from borealis_engine.postgres.image import Image
from borealis_engine.postgres.promotion import catch_up, stay_standby
from borealis_engine.postgres.replication import Slots
from borealis_engine.postgres.settings import SLOT_LIMIT, STANDBY_NAME, Configuration, Place
from borealis_engine.postgres.sql import Door, rows, session
from borealis_engine.postgres.testing import MemoryVolume
from borealis_engine.postgres.testing.primary import connect, primary
from borealis_engine.proto.wal import find_end

pytestmark = pytest.mark.postgres
SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="shop", digest="d")
CONFIGURATION = Configuration(place=Place(name="i", addresses=(), port=1, sockets="/s"), parameters={SLOT_LIMIT: "1MB"})
DEADLINE_S = 30.0
NAMES = "select slot_name from pg_replication_slots order by slot_name"


@pytest.fixture
async def door(binaries: Binaries, image: Image, folder: Path) -> AsyncIterator[Door]:
    port = 20_000 + os.getpid() % 20_000
    async with primary(binaries, image, folder, port, {"wal_level": "logical"}) as there:
        await apply_spec(there, SPEC)
        yield there


async def look(door: Door) -> None:
    async with session(door) as connection:
        await Slots(door, lambda: CONFIGURATION).look(connection)


async def ended(connection: "psycopg.AsyncConnection[tuple[object, ...]]") -> None:
    """Wait until the server has ended it; TimeoutError if it does not."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not connection.closed:
                with suppress(psycopg.errors.AdminShutdown):
                    await connection.execute("IDENTIFY_SYSTEM", prepare=False)
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def test_the_master_user_says_who_may_replicate_and_who_no_more(door: Door) -> None:
    async with await connect(door, "app", SPEC.master_password, "shop") as master:
        for statement in (
            "create role one login password 'x'",
            "create role team",
            "create role two login password 'x' in role team",
            f"grant {REPLICATION} to one, team, app",
        ):
            await master.execute(statement.encode())
        with pytest.raises(psycopg.OperationalError, match="replication"):
            await connect(door, "one", "x", "shop", replication="database")
        await keep_master(door, SPEC)
        query = "select rolname from pg_roles where rolreplication and not rolsuper order by rolname"
        async with session(door) as agent:
            assert await rows(agent, query) == [("app",), ("one",), ("two",)]
        walsenders = [
            await connect(door, "one", "x", "shop", replication="database"),
            await connect(door, "two", "x", "shop", replication="database"),
        ]
        await master.execute(f"revoke {REPLICATION} from one, app".encode())
        await master.execute(f"drop role {REPLICATION}".encode())
        await keep_master(door, SPEC)
        async with session(door) as agent:
            assert await rows(agent, query) == []
        await look(door)
        for each in walsenders:
            await ended(each)
        await master.execute(f"grant {REPLICATION} to one".encode())  # it is there again


async def test_only_a_slot_that_keeps_too_much_is_dropped(door: Door) -> None:
    async with session(door) as agent:
        await agent.execute("checkpoint")  # a physical slot keeps log from the last one on
        await agent.execute("select pg_create_logical_replication_slot('forgotten', 'pgoutput')")
        await agent.execute("select pg_create_physical_replication_slot('idle', true)")
        await agent.execute("select pg_create_physical_replication_slot(%s, true)", (STANDBY_NAME,))
        await look(door)
        assert await rows(agent, NAMES) == [("forgotten",), ("idle",), (STANDBY_NAME,)]
        await agent.execute("select pg_logical_emit_message(false, 'x', repeat('x', 2000000))")
        await agent.execute("select pg_create_logical_replication_slot('fresh', 'pgoutput')")
        await look(door)
        assert await rows(agent, NAMES) == [("fresh",), (STANDBY_NAME,)]


async def test_physical_replication_of_a_member_ends(door: Door) -> None:
    """A walsender that names a database takes physical commands too; pg_hba.conf cannot tell."""
    async with await connect(door, "app", SPEC.master_password, "shop") as master:
        await master.execute(f"create role one login password 'x' in role {REPLICATION}".encode())
    await keep_master(door, SPEC)
    walsender = await connect(door, "one", "x", "shop", replication="database")
    try:
        (where,) = await (await walsender.execute("IDENTIFY_SYSTEM")).fetchall()
        walsender.pgconn.send_query(f"START_REPLICATION PHYSICAL {where[2]}".encode())
        async with session(door) as agent, asyncio.timeout(DEADLINE_S):
            while not await rows(agent, "select 1 from pg_stat_replication where state = 'streaming'"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await look(door)
            while await rows(agent, "select 1 from pg_stat_replication"):  # noqa: ASYNC110 (it tells nobody)
                await asyncio.sleep(0.01)
    finally:
        walsender.pgconn.finish()


async def test_a_reader_keeps_no_slots_and_they_are_in_no_promotions_way(
    attach: Callable[[int], Attached], volume: MemoryVolume
) -> None:
    attached = attach(1)
    await attached.start(lambda text: None)
    found = find_end(volume.start, bytes(volume.log), attached.image.head.description.segment_size)
    assert found
    volume.append(bytes(found.padding), durable=False)
    async with session(attached.site.door) as agent:

        async def fill() -> None:
            for name in (STANDBY_NAME, *(f"stranger{number}" for number in range(9))):
                await agent.execute("select pg_create_physical_replication_slot(%s, false)", (name,))

        await fill()
        async with asyncio.timeout(DEADLINE_S):
            while await rows(agent, NAMES):  # noqa: ASYNC110 (the watch tells nobody)
                await asyncio.sleep(0.05)
        await fill()
        await catch_up(attached, found.end)
        assert await rows(agent, NAMES) == [(STANDBY_NAME,)]
        assert await rows(agent, "select from pg_replication_slots where restart_lsn is null") == []
        await attached.slots.look(agent)
        assert await rows(agent, NAMES) == [(STANDBY_NAME,)]
        await stay_standby(attached)
        assert await rows(agent, NAMES) == []
