"""Master user and first database on a real PostgreSQL: creation happens once, and the Secret always lets in."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract.names import SUPERUSER
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.postgres import database, provision
from borealis_engine.postgres.binaries import Binaries
from borealis_engine.postgres.database import apply_spec, keep_master
from borealis_engine.postgres.errors import SpecInvalid
from borealis_engine.postgres.image import Image
from borealis_engine.postgres.provision import Provision
from borealis_engine.postgres.sql import Door, session
from borealis_engine.postgres.testing.primary import connect, primary

pytestmark = pytest.mark.postgres
SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="shop", digest="d")
PLAIN = replace(SPEC, database_name="")
DEADLINE_S = 30.0


@pytest.fixture
async def door(binaries: Binaries, image: Image, folder: Path) -> AsyncIterator[Door]:
    async with primary(binaries, image, folder, port=20_000 + os.getpid() % 20_000) as there:
        yield there


async def run(door: Door, *statements: str) -> list[tuple[object, ...]]:
    """As the superuser."""
    async with session(door) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def ask(door: Door, *statements: str, dbname: str = "shop", user: str = "app") -> object:
    """As a client with the Secret's password."""
    async with await connect(door, user, SPEC.master_password, dbname) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchone() if cursor.description else None


async def databases(door: Door) -> dict[str, str]:
    rows = await run(door, "select datname, pg_get_userbyid(datdba) from pg_database where not datistemplate")
    return {str(name): str(owner) for name, owner in rows}


# --- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        (("create role team", "alter database shop owner to team"), {"shop": "team"}),
        (("alter database shop rename to store",), {"store": "app"}),
        (("drop database shop",), {}),
    ],
    ids=["given-away", "renamed", "dropped"],
)
async def test_what_users_did_to_the_first_database_stays(
    door: Door, changes: tuple[str, ...], left: dict[str, str]
) -> None:
    await apply_spec(door, SPEC)
    await run(door, *changes)
    for digest in ("d", "e"):  # the next reign, and another password
        await apply_spec(door, replace(SPEC, digest=digest, master_password=f"password {digest}"))
        assert await databases(door) == {"postgres": SUPERUSER, **left}


@pytest.mark.parametrize("step", ["_make_database", "_mark"])
async def test_a_creation_that_was_cut_short_is_completed_once(
    door: Door, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = getattr(database, step), 0

    async def die(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if step == "_mark" and calls == 1:
            return await whole(*arguments)
        raise ConnectionError

    monkeypatch.setattr(database, step, die)
    with pytest.raises(ConnectionError):
        await apply_spec(door, SPEC)
    monkeypatch.setattr(database, step, whole)
    await apply_spec(door, SPEC)
    await ask(door, "create table t(i int)")
    await run(door, "drop database shop")
    await apply_spec(door, SPEC)
    assert await databases(door) == {"postgres": SUPERUSER}


async def test_a_volume_of_an_older_release_is_taken_as_it_is(door: Door) -> None:
    await run(door, "create role app login createdb createrole", "create database store owner app")
    await apply_spec(door, SPEC)
    await apply_spec(door, replace(SPEC, digest="e"))
    assert await databases(door) == {"postgres": SUPERUSER, "store": "app"}


async def test_nobody_but_the_superuser_can_take_the_mark_away(door: Door) -> None:
    await apply_spec(door, SPEC)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await ask(door, f"comment on role {SUPERUSER} is null")


# --- the database in the URI -----------------------------------------------------------------------------------------


async def test_without_a_first_database_the_one_in_the_uri_is_usable(door: Door) -> None:
    await apply_spec(door, PLAIN)
    anew = ("create table t()", "drop schema public cascade", "create schema public", "create table t()")
    granted = ("create schema more", "create role team", "grant create on schema public to team")
    await ask(door, *anew, *granted, dbname="postgres")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):  # whoever owned it could shut the agent out
        await ask(door, "alter database postgres allow_connections false", dbname="postgres")


async def test_a_volume_of_an_older_release_without_a_first_database_becomes_usable(door: Door) -> None:
    await run(door, "create role app login createdb createrole")
    await apply_spec(door, PLAIN)
    await ask(door, "create table t()", dbname="postgres")


# --- the master user -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    ["valid until '2020-01-01'", "connection limit 0", "nologin", "password 'of somebody else'", "password null"],
)
async def test_whatever_sql_did_to_the_role_a_changed_secret_lets_in_and_so_does_an_unchanged_one(
    door: Door, change: str
) -> None:
    await apply_spec(door, SPEC)
    for keep in (apply_spec, keep_master):
        await run(door, f"alter role app {change}")
        with pytest.raises(psycopg.OperationalError):
            await ask(door, "select 1")
        await keep(door, SPEC)
        assert await ask(door, "select 1") == (1,)


async def test_what_locks_nobody_out_is_left_to_its_user(door: Door) -> None:
    await apply_spec(door, SPEC)
    await run(door, "alter role app valid until '2999-01-01' connection limit 7")
    await keep_master(door, SPEC)
    rows = await run(door, "select rolvaliduntil = '2999-01-01', rolconnlimit from pg_roles where rolname = 'app'")
    assert rows == [(True, 7)]


async def test_a_transaction_that_holds_the_role_is_named_instead_of_waited_for(door: Door) -> None:
    told: list[str] = []
    kept = Provision(lambda: told.append(kept.fault))
    await apply_spec(door, SPEC)
    changed = replace(SPEC, master_password="another password", digest="e")
    async with await connect(door, "app", SPEC.master_password, "shop") as holder:
        await holder.execute("begin")
        await holder.execute("alter role app connection limit 7")
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(SpecInvalid, match=rf"open transaction holds it \(process {holder.info.backend_pid}\)"):
                await kept.apply(door, changed, lambda: True)
        assert "the role app cannot be changed" in kept.fault
        await holder.execute("rollback")
    assert await kept.apply(door, changed, lambda: True)
    assert (kept.fault, kept.digest, len(told)) == ("", "e", 2)
    kept.end()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("alter database shop rename to store", "was renamed or dropped"),
        ("revoke connect on database shop from public, app", "does not let app in"),
        ("alter database shop allow_connections false", "does not let app in"),
    ],
    ids=["renamed", "revoked", "closed"],
)
async def test_a_database_that_the_secret_names_in_vain_is_told_of(
    door: Door, change: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "EVERY_S", 0.1)
    news = asyncio.Event()
    kept = Provision(news.set)
    assert await kept.apply(door, SPEC, lambda: True)
    news.clear()
    await run(door, "create role team", "alter database shop owner to team", change)
    async with asyncio.timeout(DEADLINE_S):
        await news.wait()
    assert words in kept.fault
    kept.end()


async def test_every_name_that_the_schema_admits_can_be_a_master_user_and_owns_what_it_makes(door: Door) -> None:
    """All of PostgreSQL's key words: those that it refuses as a role are refused by the schema, too."""
    words = [str(row[0]) for row in await run(door, "select word from pg_get_keywords()")]
    refused = []
    async with session(door) as connection:
        for word in (*words, "all", "replication", "sameuser", "samerole", "feed", "volume"):
            spec = replace(PLAIN, master_username=word)
            try:
                await database._keep_role(connection, spec)
            except psycopg.errors.ReservedName:
                refused.append(word)
                continue
            assert await ask(door, "select session_user", dbname="postgres", user=word) == (word,)
    assert refused == ["none"]
