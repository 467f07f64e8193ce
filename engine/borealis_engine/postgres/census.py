"""Counts the clients of a PostgreSQL every few seconds, so that a scrape of the metrics asks nobody."""

import asyncio
from contextlib import suppress
from typing import Final

import psycopg

from borealis_engine.postgres.errors import ServerDied
from borealis_engine.postgres.sql import AGENT, Door, Session, rows, session
from borealis_engine.postgres.tally import Tally

EVERY_S: Final = 5.0
STATES: Final = {  # of pg_stat_activity, as label values
    "active": "active",
    "idle": "idle",
    "idle in transaction": "idle_in_transaction",
    "idle in transaction (aborted)": "idle_in_aborted_transaction",
}
OTHER: Final = "other"
_QUERY: Final = """
    select state, count(*), count(*) filter (where wait_event = 'SyncRep')
    from pg_stat_activity where backend_type = 'client backend' and application_name <> %s group by state
"""


async def keep_counting(door: Door, tally: Tally) -> None:
    """Count until cancelled, each time over a session of its own: those that are kept have few places."""
    try:
        while True:
            with suppress(ServerDied, psycopg.Error):
                async with session(door) as connection:
                    await count(tally, connection)
            await asyncio.sleep(EVERY_S)
    finally:
        tally.connections, tally.commits_waiting = {}, 0


async def count(tally: Tally, connection: Session) -> None:
    """Count once."""
    counted = await rows(connection, _QUERY, (AGENT,))
    found = dict.fromkeys((*STATES.values(), OTHER), 0)
    for state, number, _ in counted:
        found[STATES.get(str(state), OTHER)] += int(str(number))
    tally.connections = found
    tally.commits_waiting = sum(int(str(waiting)) for *_, waiting in counted)
