"""Watches over a reign from PostgreSQL's side: nothing but the log writer releases commits, and none stays unheld.

A backend whose wait for the synchronous standby is cancelled or terminated gives it up: its commit becomes visible,
and is acknowledged with a WARNING if it was cancelled, before the volume has it. Any user can bring that about
(statement_timeout). The commit is written by then, so the volume has it as soon as D covers what was written. The
invariant: D covers it within the bound, or the reign ends, so what readers and later clients see is again what a quorum
holds. A forged message makes the guard look once more and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg

from borealis_engine.contract.volume import Lsn, format_lsn, parse_lsn
from borealis_engine.postgres.errors import Cause, PromotionFailed
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.ownership import Ownership
from borealis_engine.postgres.settings import STANDBY_NAME
from borealis_engine.postgres.sql import Door, Session, session

BOUND_SHARE: Final = 0.25  # of the lease: twice this may pass, and the owner's own lease ends at 0.8
EVERY_S: Final = 2.0
REST_S: Final = 0.1  # between two looks, however many waits are given up
POLL_S: Final = 0.01
PLACE_TRIES: Final = 20
_END_ALL: Final = "select pg_terminate_backend(pid, 5000) from pg_stat_get_wal_senders()"
_FIRST: Final = "select pid from pg_stat_get_wal_senders() limit 1"  # it goes through the places in order
_LOOK: Final = """
    select pg_current_wal_flush_lsn()::text, current_setting('synchronous_standby_names'),
           array(select pid from pg_stat_get_wal_senders() where sync_state in ('sync', 'quorum') and pid <> %(ours)s)
"""  # by functions alone: a relation that all databases share needs a place in the table of locks, which users can fill
_END_STRANGERS: Final = """
    select pg_terminate_backend(pid) from pg_stat_get_wal_senders() where sync_state <> 'async' and pid <> %(ours)s
"""  # walsenders under the log writer's name, which any role that may replicate can take


async def take_first_place(door: Door, connect: Callable[[], Awaitable[LogWriter]]) -> LogWriter:
    """Connect the log writer in the first of PostgreSQL's places for walsenders, before there is anything to commit.

    Of walsenders that bear one name the one in the lowest place releases commits (standby_priority_comparator,
    syncrep.c): no other of that name counts while the log writer streams. Others are ended and may come back.
    """
    for _ in range(PLACE_TRIES):
        async with session(door) as connection:
            await connection.execute(_END_ALL)
            writer = await connect()
            if await writer.connected() and await _first(connection) == writer.backend:
                return writer
            writer.close()
    raise PromotionFailed("walsenders of others keep the log writer from the first place; see who may replicate")


async def _first(connection: Session) -> object:
    row = await (await connection.execute(_FIRST)).fetchone()
    return row and row[0]


class Guard:
    """Of one reign. Whoever sets `given_up` says that a backend has given up its wait."""

    def __init__(
        self, door: Door, ownership: Ownership, writer: LogWriter, given_up: asyncio.Event, *, lease: float
    ) -> None:  # fmt: skip
        self._door, self._ownership, self._writer, self._given_up = door, ownership, writer, given_up
        self._bound = BOUND_SHARE * lease
        self._connection: Session | None = None  # kept: a new one needs places that users can fill

    async def run(self) -> None:
        """Watch until the reign is over.

        A wait that was given up is looked into at once, or as soon as the look before is over: after twice the bound
        all is well or the reign has ended, however many there are.
        """
        try:
            while not self._ownership.ended.done():
                await self._look_in_time()
                await self._pause()
        finally:
            await self._disconnect()

    async def _look_in_time(self) -> None:
        pending = self._given_up.is_set()
        self._given_up.clear()
        try:
            async with asyncio.timeout(self._bound):
                await self._look(pending)
        except TimeoutError:
            await self._disconnect()
            if pending:
                self._end(
                    "a commit became visible without a quorum, its outcome is unknown: its wait for the volume was "
                    f"cancelled, and {self._bound:g} s later D is {format_lsn(self._ownership.durable)}"
                )

    async def _pause(self) -> None:
        await asyncio.sleep(REST_S)
        try:
            async with asyncio.timeout(EVERY_S):
                await self._given_up.wait()
        except TimeoutError:
            return

    async def _look(self, pending: bool) -> None:
        """Look once; returns when D covers what was written before, if that is `pending`."""
        while True:
            try:
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(self._door.conninfo(), autocommit=True)
                written = await self._check(self._connection)
                break
            except psycopg.Error:  # if PostgreSQL is dead the reign ends by that
                await self._disconnect()
                await asyncio.sleep(POLL_S)
        while pending and self._ownership.durable < written:  # noqa: ASYNC110 (D is told to the log writer)
            await asyncio.sleep(POLL_S)

    async def _check(self, connection: Session) -> Lsn:
        """See that commits wait for the log writer; give how far PostgreSQL's log is written."""
        ours = {"ours": self._writer.backend}
        row = await (await connection.execute(_LOOK, ours)).fetchone()
        assert row is not None
        written, names, strangers = row
        if names != STANDBY_NAME:
            self._end(f"synchronous_standby_names is {names!r}, not {STANDBY_NAME!r}: commits need no quorum")
        elif strangers and self._writer.backend:
            self._end(f"the walsender with process id {strangers} released commits, not the volume")
        await connection.execute(_END_STRANGERS, ours)
        return parse_lsn(str(written))

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _end(self, reason: str) -> None:
        self._ownership.end(reason, Cause.UNACKNOWLEDGED)
