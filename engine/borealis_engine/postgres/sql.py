"""The agent's own sessions on its PostgreSQL: over the private unix socket, as the superuser without password."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import psycopg

from borealis_engine.contract.volume import Lsn, parse_lsn
from borealis_engine.postgres.errors import ServerDied
from borealis_engine.postgres.settings import SUPERUSER

_PROGRESS = """
    select pg_is_in_recovery(), pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text,
           (select received_tli from pg_stat_wal_receiver)
"""

Session: TypeAlias = "psycopg.AsyncConnection[tuple[object, ...]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a standby is; LSNs are 0 while unknown."""

    in_recovery: bool
    receive: Lsn
    replay: Lsn
    timeline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where PostgreSQL's private socket is."""

    sockets: str
    port: int

    def conninfo(self, database: str = "postgres") -> str:
        """Give libpq's connection string."""
        return psycopg.conninfo.make_conninfo(
            host=self.sockets, port=self.port, user=SUPERUSER, dbname=database, connect_timeout=5,
            application_name="borealis agent",
        )  # fmt: skip


@asynccontextmanager
async def session(door: Door, database: str = "postgres") -> AsyncIterator[Session]:
    """Open an autocommit session; every error of the connection becomes ServerDied."""
    try:
        async with await psycopg.AsyncConnection.connect(door.conninfo(database), autocommit=True) as connection:
            yield connection
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise ServerDied(f"PostgreSQL does not answer: {str(error).strip()}") from error


async def progress(connection: Session) -> Progress:
    """Ask how far replay is."""
    cursor = await connection.execute(_PROGRESS)
    row = await cursor.fetchone()
    assert row is not None
    in_recovery, receive, replay, timeline = row
    return Progress(
        in_recovery=bool(in_recovery),
        receive=parse_lsn(str(receive)) if receive else Lsn(0),
        replay=parse_lsn(str(replay)) if replay else Lsn(0),
        timeline=int(str(timeline)) if timeline else 0,
    )
