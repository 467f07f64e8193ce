"""The agent's own sessions on its PostgreSQL: over the private unix socket, as the superuser without password.

The invariant: whatever users set for everybody (timeouts, read-only, forms of dates, libraries that no session can
load), it does not hold in here, so that no parameter keeps the agent from its work.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import psycopg

from borealis_engine.contract.names import SUPERUSER
from borealis_engine.contract.volume import Lsn, parse_lsn
from borealis_engine.postgres.errors import ServerDied, SessionLost

AGENT: Final = "borealis agent"  # application_name
RELOAD_S: Final = 10.0
POLL_S: Final = 0.005
_OWN_WAY: Final = {  # of the agent's sessions, by the PostgreSQL major that knows it first
    "statement_timeout": ("0", 15),
    "lock_timeout": ("0", 15),
    "idle_session_timeout": ("0", 15),
    "idle_in_transaction_session_timeout": ("0", 15),
    "transaction_timeout": ("0", 17),
    "default_transaction_read_only": ("off", 15),
    "default_transaction_isolation": (r"read\ committed", 15),
    "session_preload_libraries": ("", 15),
    "local_preload_libraries": ("", 15),
    "exit_on_error": ("off", 15),
    "client_encoding": ("UTF8", 15),  # the driver gives text of SQL_ASCII as bytes, and knows not every other
    "datestyle": ("ISO", 15),  # the driver reads no other times
    "search_path": ("pg_catalog", 15),
    "scram_iterations": ("4096", 16),  # the driver hashes while nothing else of the agent runs
    "log_statement": ("none", 15),
    "log_duration": ("off", 15),
    "log_min_duration_statement": ("-1", 15),
    "log_min_duration_sample": ("-1", 15),
}
_PROGRESS = """
    select pg_is_in_recovery(), pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text,
           (select received_tli from pg_stat_wal_receiver)
"""

T = TypeVar("T")
# What replay does to a session in its way (40P01: for a buffer), one that was terminated, a connection that just ended.
_LOST: Final = ("40001", "40P01", "57P01", None)
Session: TypeAlias = "psycopg.AsyncConnection[tuple[object, ...]]"
Params: TypeAlias = Sequence[object] | Mapping[str, object]


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
    major: int  # of PostgreSQL
    plain: bool = False  # as a client's session: it sets nothing for itself

    @property
    def options(self) -> str:
        """Give what the agent's sessions set for themselves, as libpq's `options`."""
        if self.plain:
            return ""
        known = {name: value for name, (value, since) in _OWN_WAY.items() if self.major >= since}
        return " ".join(f"-c {name}={value}" for name, value in known.items())

    def conninfo(self, database: str = "postgres") -> str:
        """Give libpq's connection string."""
        return psycopg.conninfo.make_conninfo(
            host=self.sockets, port=self.port, user=SUPERUSER, dbname=database, connect_timeout=5,
            application_name=AGENT, options=self.options,
        )  # fmt: skip


@asynccontextmanager
async def session(door: Door, database: str = "postgres") -> AsyncIterator[Session]:
    """Open an autocommit session; every error of the connection becomes ServerDied, SessionLost once it was there."""
    died = ServerDied
    try:
        async with await psycopg.AsyncConnection.connect(door.conninfo(database), autocommit=True) as connection:
            died = SessionLost
            yield connection
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        kind = died if error.sqlstate in _LOST else ServerDied
        raise kind(f"PostgreSQL does not answer: {str(error).strip()}") from error


async def persist(door: Door, work: Callable[[Session], Awaitable[T]]) -> T:
    """Do what may be done twice over a session, and over a new one whenever that is lost; ServerDied if none is had.

    Replay takes no heed of whose statement it cancels: a standby that runs is not dead for it.
    """
    while True:
        with suppress(SessionLost):
            async with session(door) as connection:
                return await work(connection)
        await asyncio.sleep(POLL_S)


async def rows(connection: Session, query: str, given: Params | None = None) -> list[tuple[object, ...]]:
    """Return the rows of a query."""
    return await (await connection.execute(query.encode(), given)).fetchall()


async def again_and_again(door: Door, look: Callable[[Session], Awaitable[None]], every_s: float) -> None:
    """Look over one session every so many seconds, until cancelled; over a new one if PostgreSQL did not answer."""
    while True:
        with suppress(ServerDied, psycopg.Error):
            async with session(door) as connection:
                while True:
                    await look(connection)
                    await asyncio.sleep(every_s)
        await asyncio.sleep(every_s)


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


async def reload(connection: Session) -> None:
    """Have the configuration read again, and return once it is in force; ServerDied if that takes RELOAD_S."""
    before = await _loaded_at(connection)
    await connection.execute("select pg_reload_conf()")
    try:
        async with asyncio.timeout(RELOAD_S):
            while await _loaded_at(connection) == before:  # noqa: ASYNC110 (PostgreSQL tells nobody)
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise ServerDied(f"PostgreSQL has not read its configuration within {RELOAD_S:g} s") from error


async def _loaded_at(connection: Session) -> object:
    """Give when this session's process read the configuration; the postmaster has done so before."""
    row = await (await connection.execute("select pg_conf_load_time()")).fetchone()
    return row
