"""The extensions that the engine image trusts: the master user makes them, and gains nothing that is not his."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.postgres.binaries import Binaries, find_binaries
from borealis_engine.postgres.database import apply_spec
from borealis_engine.postgres.image import Image
from borealis_engine.postgres.sql import Door
from borealis_engine.postgres.testing.primary import ADDRESS, connect, primary

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[3]
SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="shop", digest="d")
TRUSTED = ("dblink", "pg_buffercache", "pg_stat_statements", "pgstattuple", "sslinfo", "amcheck", "bloom")


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
