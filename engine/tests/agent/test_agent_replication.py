"""A stock PostgreSQL subscribes to a cluster: copy, changes, a failover of which it is told, and nothing missing."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract import names
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec, Role
from borealis_engine.net.testing import StorageNodes
from borealis_engine.postgres.account import choose_account, make_private
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import ServerDied
from borealis_engine.postgres.image import run_initdb
from borealis_engine.postgres.process import Server
from borealis_engine.postgres.sql import Door, rows, session
from borealis_engine.postgres.testing import Agent
from borealis_engine.postgres.testing.agents import DEADLINE_S
from psycopg.pq import ExecStatus

pytestmark = pytest.mark.postgres
SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="shop", digest="d")
GIVEN = Settings(parameters={"wal_level": "logical"}, digest="given")
DOCS = Path(__file__).parents[3] / "docs" / "connect.md"
PUBLISH = (
    "CREATE ROLE subscriber LOGIN PASSWORD 'a-secret-of-its-own';",
    "GRANT borealis_replication TO subscriber;",
    "GRANT SELECT ON orders TO subscriber;",
    "CREATE PUBLICATION shop FOR TABLE orders;",
)
AGAIN = (
    "ALTER SUBSCRIPTION shop DISABLE;",
    "ALTER SUBSCRIPTION shop SET (slot_name = NONE);",
    "DROP SUBSCRIPTION shop;",
    "TRUNCATE orders;",
)
TABLE = "create table orders (id bigint primary key, item text)"
SUM = "select count(*), md5(string_agg(o::text, ',' order by id)) from orders o"


@asynccontextmanager
async def stock(folder: Path) -> AsyncIterator[tuple[Door, list[str]]]:
    """Run a PostgreSQL as initdb makes one; its log grows in the list."""
    binaries, account, log = find_binaries(os.environ), choose_account(), list[str]()
    make_private(folder / "stock", account)
    run_initdb(binaries, folder / "stock" / "data", account)
    given = {"port": "5432", "listen_addresses": "", "unix_socket_directories": str(folder / "stock")}
    arguments = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
    server = Server.start(
        binaries.path("postgres"), folder / "stock" / "data", account, log.append, arguments=arguments
    )  # fmt: skip
    door = Door(sockets=str(folder / "stock"), port=5432, major=binaries.major)
    try:
        yield door, log
    finally:
        await server.stop()


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not (await found if asyncio.iscoroutine(found := condition()) else found):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise TimeoutError(what) from error


async def run(agent: Agent, *statements: str) -> list[tuple[object, ...]]:
    async with await agent.connect(SPEC) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


def insert(first: int) -> str:
    return f"insert into orders select i, md5(i::text) from generate_series({first}, {first + 999}) i"


async def test_a_stock_subscriber_is_told_of_a_failover_and_misses_nothing_once_made_again(folder: Path) -> None:
    documented = DOCS.read_text()
    assert [line for line in (*PUBLISH, *AGAIN) if f"\n{line}\n" not in documented] == []
    async with StorageNodes(folder) as nodes, stock(folder) as (door, log):
        agents = writer, reader = Agent(nodes, folder, 0), Agent(nodes, folder, 1)
        try:
            await asyncio.gather(*(agent.start({names.ENV_SETTINGS: GIVEN.to_json()}) for agent in agents))
            await writer.lead(SPEC)
            await reader.ready(Role.READER)
            await run(writer, TABLE, insert(0), *PUBLISH)
            may = "select 1 from pg_roles where rolname = 'subscriber' and rolreplication"
            await until(lambda: run(writer, may), "the role may not replicate")
            await refuses_base_backup(writer, "no_base_backup")
            await refuses_base_backup(reader, "no_base_backup|full_page_writes")
            await follow(writer, reader, door, log)
            assert [
                agent.name for agent in agents if "pg_tblspc" in agent.log()
            ] == []  # it stumbles over nothing there
        finally:
            for agent in agents:
                await agent.kill()


async def refuses_base_backup(agent: Agent, words: str) -> None:
    """A walsender that names a database takes it, and it asks for no privilege."""
    as_subscriber = replace(SPEC, master_username="subscriber", master_password="a-secret-of-its-own")
    connection, got = await agent.connect(as_subscriber, replication="database"), bytearray()
    walsender = connection.pgconn

    def back_up() -> str:
        walsender.send_query(b"BASE_BACKUP (CHECKPOINT 'fast')")
        while (result := walsender.get_result()) is not None:
            if result.status == ExecStatus.COPY_OUT:
                while (piece := walsender.get_copy_data(0))[0] > 0:
                    got.extend(piece[1])
            if result.status == ExecStatus.FATAL_ERROR:
                return result.error_message.decode()
        return "it went well"

    try:
        refusal = await asyncio.to_thread(back_up)
    finally:
        await connection.close()
    assert re.search(words, refusal), refusal
    assert b"PG_VERSION" not in got
    assert len(got) < 10_000


async def follow(writer: Agent, reader: Agent, door: Door, log: list[str]) -> None:
    conninfo = psycopg.conninfo.make_conninfo(  # as the writer endpoint does, it leads to whichever writes
        host=f"{writer.address},{reader.address}", user="subscriber", password="a-secret-of-its-own", dbname="shop",
        target_session_attrs="read-write", connect_timeout=5,
    )  # fmt: skip
    subscribe = f"CREATE SUBSCRIPTION shop CONNECTION '{conninfo}' PUBLICATION shop;"

    async def there(*statements: str) -> list[tuple[object, ...]]:
        async with session(door) as connection:
            await connection.execute("set search_path = public")
            for statement in statements[:-1]:
                await connection.execute(statement.encode())
            return await rows(connection, statements[-1])

    async def level(publisher: Agent) -> bool:
        return await there(SUM) == await run(publisher, SUM)

    async def answers() -> bool:
        with suppress(ServerDied):
            return bool(await there("select 1"))
        return False

    await until(answers, "the stock PostgreSQL does not answer")
    async with session(door) as connection:
        await connection.execute("set search_path = public")
        await connection.execute(TABLE.encode())
        await connection.execute(subscribe.encode())
    await until(lambda: level(writer), f"it did not copy: {log[-20:]}")
    await run(
        writer, insert(1000), "update orders set item = 'new' where id % 7 = 0", "delete from orders where id < 9"
    )
    await until(lambda: level(writer), f"changes do not flow: {log[-20:]}")

    await writer.kill()
    assert await reader.post(names.PROMOTE) == 202
    await reader.ready(Role.WRITER)
    await run(reader, insert(2000))
    await until(lambda: 'replication slot "shop" does not exist' in "".join(log), f"it was not told: {log[-20:]}")
    assert await run(reader, "select slot_name from pg_replication_slots") == [("volume",)]
    assert await there("select count(*) from orders where id >= 2000") == [(0,)]
    async with session(door) as connection:
        await connection.execute("set search_path = public")
        for statement in (*AGAIN, subscribe):
            await connection.execute(statement.encode())
    await until(lambda: level(reader), f"it did not copy again: {log[-20:]}")
    await run(reader, insert(3000))
    await until(lambda: level(reader), f"changes do not flow again: {log[-20:]}")
    assert await run(reader, "select count(*) from orders") == [(3991,)]
