"""What SQL cannot do on a real PostgreSQL: reach the operating system, what durability rests on, or the agent."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract.names import SUPERUSER
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.contract.volume import Epoch
from borealis_engine.postgres.account import choose_account
from borealis_engine.postgres.attached import Attached
from borealis_engine.postgres.binaries import Binaries
from borealis_engine.postgres.database import apply_spec
from borealis_engine.postgres.errors import CommandFailed, SpecInvalid
from borealis_engine.postgres.escalation import GUARDED_SINCE, ROLES
from borealis_engine.postgres.guard import take_first_place
from borealis_engine.postgres.image import Image
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.process import run as run_program
from borealis_engine.postgres.promotion import catch_up, promote, prove_writable
from borealis_engine.postgres.settings import DISPOSABLE, STANDBY_NAME, render_settings
from borealis_engine.postgres.sql import Door, reload, session
from borealis_engine.postgres.testing import MemorySink, MemoryVolume
from borealis_engine.postgres.testing.primary import connect, primary
from borealis_engine.proto.wal import find_end

SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="shop", digest="d")
DEADLINE_S = 30.0
SLOT = "subscriber"


@pytest.fixture
async def door(binaries: Binaries, image: Image, folder: Path) -> AsyncIterator[Door]:
    async with primary(binaries, image, folder, port=20_000 + os.getpid() % 20_000) as there:
        yield there


async def run(door: Door, *statements: str, dbname: str = "postgres") -> list[tuple[object, ...]]:
    """As the agent."""
    async with session(door, dbname) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


# --- the operating system --------------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize("role", ROLES)
async def test_the_master_user_cannot_reach_programs_and_files(door: Door, role: str) -> None:
    await apply_spec(door, SPEC)
    await apply_spec(door, SPEC)
    async with await connect(door, "app", SPEC.master_password, "shop") as master:
        await master.execute("create role colleague login password 'x'")  # as on any PostgreSQL
        for statement in (
            f"grant {role} to app",
            f"create role thief in role {role}",
            f"alter group {role} add user colleague",
            f"alter role {role} login password 'x'",
            f"set role {role}",
            "copy (select 1) to program 'id'",
            "alter system set fsync = 'off'",
            "set log_min_messages = panic",
            "alter role app set log_error_verbosity = terse",
        ):
            with pytest.raises(psycopg.errors.Error, match=r"must|permission denied|reserved|not allowed"):
                await master.execute(statement.encode())


@pytest.mark.postgres
async def test_what_was_granted_before_is_taken_back(door: Door) -> None:
    if door.major >= GUARDED_SINCE:
        pytest.skip(f"PostgreSQL {door.major} asks for ADMIN OPTION by itself")
    await run(door, "create role app login createrole", "create role between", "grant between to app")
    await run(door, f"grant {ROLES[0]} to app", f"grant {ROLES[1]} to between")
    await apply_spec(door, SPEC)
    for role in ROLES:
        assert await run(door, f"select pg_has_role('app', '{role}', 'member')") == [(False,)]


# --- what durability rests on ----------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_no_alter_system_changes_what_durability_rests_on(attach: Callable[[int], Attached]) -> None:
    attached = attach(1)
    await attached.start(lambda text: None)
    door = attached.site.door
    for name in ("synchronous_standby_names", "fsync", "log_error_verbosity"):
        with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported):  # 17 has none of it
            await run(door, f"alter system set {name} = default")
    with (attached.data / "postgresql.auto.conf").open("a") as file:
        file.write("synchronous_standby_names = ''\nlog_error_verbosity = 'terse'\n")
    async with session(door) as connection:
        await reload(connection)
        rows = await (await connection.execute("select name, setting, source from pg_settings")).fetchall()
    found = {str(name): (setting, source) for name, setting, source in rows}
    assert found["synchronous_standby_names"] == (STANDBY_NAME, "command line")
    assert found["log_error_verbosity"] == ("verbose", "command line")
    assert {found[name][1] for name in DISPOSABLE} == {"command line"}


@contextmanager
def stranger(attached: Attached, folder: Path) -> Iterator[None]:
    """A stock receiver that takes the log writer's name and confirms all it gets."""
    site = attached.site
    name = f"host={site.run} port={site.place.port} user={SUPERUSER} application_name={STANDBY_NAME}"
    command = [site.binaries.path("pg_receivewal"), "-D", str(folder), "-d", name, "--synchronous", "--no-loop"]
    folder.mkdir()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def subscriber(attached: Attached) -> Iterator[None]:
    """A logical receiver that takes the log writer's name and confirms all it gets; its slot is there."""
    site = attached.site
    name = f"host={site.run} port={site.place.port} user={SUPERUSER} dbname=postgres application_name={STANDBY_NAME}"
    options = ["-o", "proto_version=1", "-o", "publication_names=none", "--status-interval=1", "--fsync-interval=0"]
    command = [site.binaries.path("pg_recvlogical"), "-d", name, "--slot", SLOT, "--start", "--file=-", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def senders(door: Door, number: int) -> list[tuple[object, ...]]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            query = "select pid, sync_state from pg_stat_replication where state = 'streaming'"
            if len(rows := await run(door, query)) == number:
                return rows
            await asyncio.sleep(0.02)


@pytest.mark.postgres
@pytest.mark.parametrize("logical", [False, True])
async def test_a_walsender_of_the_log_writers_name_releases_no_commit(
    attach: Callable[[int], Attached], volume: MemoryVolume, folder: Path, *, logical: bool
) -> None:
    attached, sink = attach(1), MemorySink(volume)
    attached.configuration = replace(attached.configuration, parameters={"wal_level": "logical"} if logical else {})
    await attached.start(lambda text: None)
    if not os.access(attached.site.binaries.path("pg_receivewal"), os.X_OK):
        pytest.skip("PostgreSQL's client programs are not here")
    found = find_end(volume.start, bytes(volume.log), attached.image.head.description.segment_size)
    assert found
    volume.append(bytes(found.padding), durable=False)
    volume.begin(Epoch(2), found.end)
    await catch_up(attached, found.end)
    door = attached.site.door

    async def place() -> LogWriter:
        return await LogWriter.connect(door, sink, start=found.end, timeline=Epoch(2), held=True)

    with stranger(attached, folder / "early"):
        await senders(door, 1)
        writer = await take_first_place(door, place)  # ends it
    await promote(attached, Epoch(2), found.end)
    writer.release()
    async with asyncio.timeout(DEADLINE_S):
        while dict(await senders(door, 1)) != {writer.backend: "sync"}:  # noqa: ASYNC110 (it must report a position)
            await asyncio.sleep(0.02)
    if logical:
        await run(door, f"select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    with subscriber(attached) if logical else stranger(attached, folder / "late"):
        async with asyncio.timeout(DEADLINE_S):
            while "async" in (states := dict(await senders(door, 2))).values():  # noqa: ASYNC110 (it has not replied)
                await asyncio.sleep(0.02)
        assert states.pop(writer.backend) == "sync"
        assert list(states.values()) == ["potential"]
        commit = asyncio.create_task(prove_writable(attached, Epoch(2)))
        await asyncio.wait({commit}, timeout=1.0)
        assert not commit.done()
        sink.writer = writer  # what has not come yet is durable once it does
        writer.durable(volume.end)
        await asyncio.wait_for(commit, DEADLINE_S)
    writer.close()


# --- the agent -------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_postgresql_s_own_user_is_not_the_agent(door: Door, folder: Path) -> None:
    rows = await run(door, "select auth_method from pg_hba_file_rules where user_name @> array['borealis_admin']")
    assert {method for (method,) in rows} == {"peer", "reject"}
    if (account := choose_account()) is None:
        pytest.skip("agent and PostgreSQL run as one user")
    words = ["psql", "-h", door.sockets, "-p", str(door.port), "-U", SUPERUSER, "-c", "select 1", "postgres"]
    with pytest.raises(CommandFailed, match="Peer authentication failed"):
        run_program(words, account, cwd=folder)


@pytest.mark.postgres
async def test_no_physical_replication_for_others(door: Door) -> None:
    await run(door, "create role app login replication password 'a password'")
    conninfo = f"host=127.0.0.1 port={door.port} user=app password='a password' replication=true"
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects replication connection"):
        await psycopg.AsyncConnection.connect(conninfo)


@pytest.mark.postgres
async def test_the_agents_sessions_run_nobodys_functions(door: Door) -> None:
    """A user's schema before pg_catalog, with operators that fit better than PostgreSQL's own."""
    await run(
        door,
        "create schema trap",
        "create table trap.caught(who text)",
        "create function trap.spring(name, text) returns boolean language plpgsql as "
        "$$ begin insert into trap.caught values (current_user); return $1::text operator(pg_catalog.=) $2; end $$",
        "create operator trap.= (function = trap.spring, leftarg = name, rightarg = text)",
        "create function trap.pg_has_role(text, text, text) returns boolean language plpgsql as "
        "$$ begin insert into trap.caught values (current_user); return true; end $$",
        "alter database postgres set search_path = trap, pg_catalog",
    )
    assert await run(replace(door, plain=True), "show search_path") == [("trap, pg_catalog",)]
    await apply_spec(door, SPEC)
    assert await run(door, "select * from trap.caught") == []


async def test_a_specification_without_a_password_changes_nothing(tmp_path: Path) -> None:
    nowhere = Door(sockets=str(tmp_path), port=1, major=15)
    with pytest.raises(SpecInvalid, match="no password"):
        await apply_spec(nowhere, replace(SPEC, master_password=""))


@pytest.mark.parametrize(
    "name", ["work_mem = '1'\nfsync", "work_mem\n", "a b", "x'y", "a=b", "include 'x", "-c", "", "a.b.c", "\u0131d"]
)
def test_no_name_of_a_parameter_becomes_two_lines(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a parameter"):
        render_settings({"work_mem": "1MB", name: "on"})
