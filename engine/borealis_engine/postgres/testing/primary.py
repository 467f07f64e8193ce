"""A primary of its own without a volume: for what is between SQL and the agent alone, in a second."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psycopg

from borealis_engine.postgres.account import choose_account, make_private, own
from borealis_engine.postgres.binaries import Binaries
from borealis_engine.postgres.directory import write_access, write_wal
from borealis_engine.postgres.errors import ServerDied
from borealis_engine.postgres.image import Image, unpack
from borealis_engine.postgres.process import Server
from borealis_engine.postgres.settings import MIB, Configuration, Place, render_configuration
from borealis_engine.postgres.sql import Door, session

ADDRESS: Final = "127.0.0.1"


@asynccontextmanager
async def primary(
    binaries: Binaries, image: Image, folder: Path, port: int, parameters: Mapping[str, str] | None = None
) -> AsyncIterator[Door]:
    """Run the image as a primary that waits for no standby; its private socket is the door."""
    account, data, sockets = choose_account(), folder / "primary", folder / "sockets"
    for each in (data, sockets):
        make_private(each, account)
    unpack(image, data)
    data.chmod(0o700)
    write_wal(data, image)
    place = Place(name="primary", addresses=(ADDRESS,), port=port, sockets=str(sockets), shared_buffers=32 * MIB)
    text = (
        render_configuration(Configuration(place=place, parameters=parameters or {}))
        + "synchronous_standby_names = ''\n"
    )
    (data / "postgresql.conf").write_text(text)
    write_access(data)
    own(data, account)
    lines: list[str] = []
    server = Server.start(binaries.path("postgres"), data, account, lines.append)
    door = Door(sockets=str(sockets), port=port, major=binaries.major)
    try:
        async with asyncio.timeout(60):
            while not await _answers(door):
                assert server.alive, lines
                await asyncio.sleep(0.02)
        yield door
    finally:
        await server.stop()
        shutil.rmtree(data, ignore_errors=True)


async def connect(
    door: Door, user: str, password: str, dbname: str, **more: str
) -> "psycopg.AsyncConnection[tuple[object, ...]]":
    """Connect as a client does, over TCP."""
    conninfo = psycopg.conninfo.make_conninfo(
        host=ADDRESS, port=door.port, user=user, password=password, dbname=dbname, connect_timeout=5, **more
    )
    return await psycopg.AsyncConnection.connect(conninfo, autocommit=True)


async def _answers(door: Door) -> bool:
    try:
        async with session(door):
            return True
    except ServerDied:
        return False
