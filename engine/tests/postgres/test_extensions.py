"""The extensions that the engine image trusts: the master user makes them, and gains nothing that is not his."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract.names import SUPERUSER
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.postgres.binaries import Binaries, find_binaries
from borealis_engine.postgres.database import apply_spec
from borealis_engine.postgres.extensions import ensure_extensions
from borealis_engine.postgres.image import Image
from borealis_engine.postgres.settings import render_identities
from borealis_engine.postgres.sql import Door, reload, rows, session
from borealis_engine.postgres.testing.primary import ADDRESS, connect, primary

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[3]
SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="shop", digest="d")
TRUSTED = (
    "dblink",
    "pg_buffercache",
    "pg_stat_statements",
    "pgstattuple",
    "sslinfo",
    "amcheck",
    "bloom",
    "postgres_fdw",
)


@pytest.fixture(scope="module")
def installed(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Binaries]:
    """This machine's PostgreSQL with the image's control files: a copy, which finds its files beside itself."""
    source = Path(binaries.path("postgres")).resolve().parent
    share = Path(f"/usr/share/postgresql/{binaries.major}")
    if not (share / "extension" / "dblink.control").exists() or source.parent.name != str(binaries.major):
        pytest.skip(f"PostgreSQL's own extensions are not in {share}, as Debian has them: install postgresql-contrib")
    root = Path("/var/tmp") / f"borealis-extensions-{os.getpid()}"  # every user may pass through
    target = root / source.relative_to("/").parent
    try:
        shutil.copytree(source.parent, target, ignore=shutil.ignore_patterns("bitcode"))
        shutil.copytree(share, root / share.relative_to("/"))
        subprocess.run([ROOT / "images/trust-extensions", root / share.relative_to("/")], check=True)
        yield find_binaries({**os.environ, "PG_BIN": str(target / "bin")})
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
async def door(installed: Binaries, image: Image, folder: Path) -> AsyncIterator[Door]:
    async with primary(installed, image, folder, port=20_000 + os.getpid() % 20_000) as there:
        await apply_spec(there, SPEC)
        yield there


async def test_the_master_user_makes_trusted_extensions_and_no_others(door: Door) -> None:
    async with await connect(door, "app", SPEC.master_password, "shop") as client:
        for name in TRUSTED:
            await client.execute(f"create extension {name}".encode())
        for name in ("file_fdw", "adminpack", "pageinspect", "earthdistance"):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFile,
                                psycopg.errors.FeatureNotSupported)):  # fmt: skip
                await client.execute(f"create extension {name} cascade".encode())


ASKED = replace(SPEC, extensions={"shop": ("pg_stat_statements", "pgstattuple", "postgres_fdw")})
PRELOAD = "it is made, but works only once spec.parameters.shared_preload_libraries names pg_stat_statements"
MADE = {"pg_stat_statements in shop": PRELOAD, "pgstattuple in shop": "", "postgres_fdw in shop": ""}
OWNERS = (
    "select e.extname, r.rolname from pg_extension e join pg_roles r on r.oid = e.extowner where extname <> 'plpgsql'"
)


async def owners(door: Door) -> dict[object, object]:
    """Give who owns which extension of the first database."""
    async with session(door, "shop") as connection:
        return {row[0]: row[1] for row in await rows(connection, OWNERS)}


async def test_extensions_of_the_specification_are_made_once_and_are_the_master_users(door: Door) -> None:
    assert await ensure_extensions(door, ASKED) == MADE
    assert await ensure_extensions(door, ASKED) == MADE
    assert await owners(door) == dict.fromkeys(ASKED.extensions["shop"], "app")
    fewer = replace(ASKED, extensions={"shop": ("postgres_fdw",)})
    assert await ensure_extensions(door, fewer) == {"postgres_fdw in shop": ""}
    assert len(await owners(door)) == 3  # what is taken from the list is not dropped
    async with await connect(door, "app", SPEC.master_password, "shop") as client:
        await client.execute("drop extension pgstattuple")  # but its owner may drop it


async def test_what_cannot_be_made_is_told_with_its_remedy_and_keeps_nothing_else(door: Door) -> None:
    async with session(door) as connection:
        await connection.execute("create database closed allow_connections false")
    names = ("file_fdw", "hstore", "plpython3u", "pgstattuple")
    spec = replace(SPEC, extensions={"nowhere": ("hstore",), "closed": ("hstore",), "shop": names})
    async with await connect(door, "app", SPEC.master_password, "shop") as client:
        await client.execute("create type public.hstore as (mine int)")
    found = await ensure_extensions(door, spec)
    assert found["hstore in nowhere"].startswith("there is no database nowhere: ")
    assert "ALLOW_CONNECTIONS" in found["hstore in closed"]
    assert "files of the server" in found["file_fdw in shop"]
    assert "operating system user" in found["plpython3u in shop"]
    assert 'type "hstore" already exists; drop or rename' in found["hstore in shop"]
    assert found["pgstattuple in shop"] == ""
    assert await owners(door) == {"pgstattuple": "app"}


async def test_settings_and_objects_of_a_databases_owner_mislead_no_creation(door: Door) -> None:
    async with await connect(door, "app", SPEC.master_password, "shop") as client:
        await client.execute("create role weak")
        await client.execute("grant weak to app")
        await client.execute("create schema evil")
        for setting in (
            "role = weak",
            "session_authorization = app",
            "search_path = evil, public",
            "lock_timeout = 1",
            "transaction_read_only = on",
        ):
            await client.execute(f"alter database shop set {setting}".encode())
        await client.execute(
            "create function evil.has_database_privilege(text, name, text) returns bool language sql as 'select false'"
        )
    assert await ensure_extensions(door, ASKED) == MADE
    assert set(await owners(door)) == set(ASKED.extensions["shop"])
    async with session(door, "shop") as connection:
        assert await rows(connection, "select from pg_depend d join pg_class c on c.oid = d.objid where "
                          "d.deptype = 'e' and c.relnamespace <> 'public'::regnamespace") == []  # fmt: skip


def admit_owner(data: Path) -> None:
    """Let whoever runs PostgreSQL in as the superuser by its socket."""
    identities = data / "pg_ident.conf"
    identities.write_text(identities.read_text() + render_identities(data.owner()))


async def test_postgres_fdw_is_no_way_to_the_superuser_or_to_files(door: Door) -> None:
    await ensure_extensions(door, ASKED)
    async with session(door) as connection:  # as in a pod, where PostgreSQL runs as the agent's operating system user
        ((data,),) = await rows(connection, "show data_directory")
        await asyncio.to_thread(admit_owner, Path(str(data)))
        await reload(connection)
    async with await connect(door, "app", SPEC.master_password, "shop") as client:
        for name, where in (("inner", f"host '{door.sockets}'"), ("outer", f"host '{ADDRESS}'")):
            of = f"foreign data wrapper postgres_fdw options ({where}, port '{door.port}', dbname 'shop')"
            await client.execute(f"create server {name}_ {of}".encode())
        for options in ("user 'borealis_admin', password_required 'false'", "sslcert '/a', sslkey '/b'"):
            with pytest.raises(psycopg.Error):
                await client.execute(f"create user mapping for app server inner_ options ({options})".encode())
        await client.execute("create table words (word text)")
        await client.execute("insert into words values ('seven')")
        for server in ("inner_", "outer_"):
            await client.execute(
                f"create foreign table {server}words (word text) server {server} options (table_name 'words')".encode()
            )
        await client.execute("create user mapping for app server inner_ options (user 'borealis_admin', password 'x')")
        with pytest.raises(psycopg.Error, match=r"password (is|or GSSAPI delegated credentials) required"):
            await client.execute("select * from inner_words")
        mapping = f"options (user 'app', password '{SPEC.master_password}')"
        await client.execute(f"create user mapping for app server outer_ {mapping}".encode())
        assert await (await client.execute("select * from outer_words")).fetchall() == [("seven",)]


async def test_where_postgresql_trusts_none_the_superuser_makes_them(
    binaries: Binaries, image: Image, folder: Path
) -> None:
    """As in local mode, whose PostgreSQL is the machine's."""
    async with primary(binaries, image, folder, port=20_000 + os.getpid() % 20_000) as door:
        await apply_spec(door, SPEC)
        async with session(door, "shop") as connection:
            if not await rows(connection, "select from pg_available_extensions where name = 'postgres_fdw'"):
                pytest.skip("PostgreSQL's own extensions are not installed: install postgresql-contrib")
        assert await ensure_extensions(door, ASKED) == MADE
        assert set((await owners(door)).values()) == {SUPERUSER}
        async with await connect(door, "app", SPEC.master_password, "shop") as client:
            await client.execute("create server there foreign data wrapper postgres_fdw")


async def test_dblink_is_no_way_to_the_superuser(door: Door) -> None:
    async with await connect(door, "app", SPEC.master_password, "shop") as client:
        await client.execute("create extension dblink")
        conninfo = f"host={door.sockets} port={door.port} user=borealis_admin dbname=postgres password=x"
        with pytest.raises(psycopg.Error):
            await client.execute("select dblink_connect(%s)", (conninfo,))
        for unsafe in ("select dblink_connect_u('')", "grant execute on function dblink_connect_u(text) to app"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await client.execute(unsafe.encode())
        own = f"host={ADDRESS} port={door.port} user=app dbname=shop password='{SPEC.master_password}'"
        row = await (await client.execute("select * from dblink(%s, 'select 7') as t(i int)", (own,))).fetchone()
        assert row == (7,)
