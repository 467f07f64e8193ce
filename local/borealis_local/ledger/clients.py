"""Clients that insert numbered rows with a deadline for each commit and reconnect by themselves."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import errors

from borealis_local.ledger.book import Entry, Outcome

CREATE: LiteralString = "CREATE TABLE IF NOT EXISTS borealis_ledger (run text NOT NULL, id bigint NOT NULL)"
SELECT: LiteralString = "SELECT id FROM borealis_ledger WHERE run = %s"
INSERT = "INSERT INTO borealis_ledger (run, id) VALUES (%s, %s)"
RETRY_S = 0.1
# SQLSTATE classes in which the server says that the transaction is not committed.
NOT_COMMITTED = ("22", "23", "25", "40", "42", "53")


class DeadlinePassed(Exception):
    """No answer within the deadline; the connection has been cut without a cancel request."""


@dataclass(slots=True, kw_only=True)
class Client:
    """One connection's worth of load: ids `first`, `first + step`, ..."""

    url: str
    run: str
    first: int
    step: int
    deadline: float
    write: Callable[[Entry], None]
    _connection: psycopg.AsyncConnection | None = field(default=None, init=False)
    _doubt: bool = field(default=False, init=False)

    async def work(self, stop: asyncio.Event) -> None:
        """Insert until `stop` is set."""
        number = self.first
        while not stop.is_set():
            connection = await self._connected()
            if connection is None:
                await _pause(stop, RETRY_S)
                continue
            self.write(await self._insert(connection, number))
            number += self.step
        await self._drop()

    async def _connected(self) -> psycopg.AsyncConnection | None:
        if self._connection is None or self._connection.closed:
            try:
                async with asyncio.timeout(self.deadline):
                    self._connection = await connect(self.url)
            except (psycopg.Error, OSError, TimeoutError):
                return None
            self._connection.add_notice_handler(self._notice)
        return self._connection

    def _notice(self, diagnostic: errors.Diagnostic) -> None:
        # "canceling wait for synchronous replication": committed here, durable nowhere.
        self._doubt = self._doubt or diagnostic.severity_nonlocalized == "WARNING"

    async def _insert(self, connection: psycopg.AsyncConnection, number: int) -> Entry:
        start, error, self._doubt = time.time(), "", False
        try:
            await bounded(connection, connection.execute(INSERT, (self.run, number)), self.deadline)
            outcome = Outcome.UNKNOWN if self._doubt else Outcome.ACKED
        except (psycopg.Error, OSError, DeadlinePassed) as failure:
            outcome, error = judge(failure), f"{type(failure).__name__}: {failure}".splitlines()[0]
            await self._drop()
        return Entry(id=number, outcome=outcome, start=start, end=time.time(), error=error)

    async def _drop(self) -> None:
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None


def judge(failure: Exception) -> Outcome:
    """Tell a commit that the server refused from one whose outcome nobody knows."""
    state = getattr(failure, "sqlstate", None) or ""
    return Outcome.REFUSED if state[:2] in NOT_COMMITTED else Outcome.UNKNOWN


async def connect(url: str) -> psycopg.AsyncConnection:
    """Open an autocommit connection."""
    return await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=5)


async def bounded(connection: psycopg.AsyncConnection, statement: object, deadline: float) -> None:
    """Await `statement` for `deadline` seconds, then cut the socket: a cancel request could show an unacked commit."""
    task = asyncio.ensure_future(statement)  # type: ignore[call-overload]
    done, _ = await asyncio.wait({task}, timeout=deadline)
    if not done:
        connection.pgconn.finish()
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise DeadlinePassed(f"no answer within {deadline:g} s")
    task.result()


async def prepare(url: str, *, patience: float) -> None:
    """Create the ledger's table, trying for `patience` seconds; the last error is raised."""
    await _patiently(url, CREATE, (), patience)


async def rows(url: str, run: str, *, patience: float) -> list[int]:
    """Read the ids of a run, trying for `patience` seconds; the last error is raised."""
    return [row[0] for row in await _patiently(url, SELECT, (run,), patience)]


async def _patiently(url: str, query: LiteralString, values: tuple[str, ...], patience: float) -> list[tuple[int, ...]]:
    end = time.monotonic() + patience
    while True:
        try:
            async with await connect(url) as connection:
                cursor = await connection.execute(query, values)
                return await cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(RETRY_S)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    await asyncio.wait({asyncio.ensure_future(stop.wait())}, timeout=seconds)
