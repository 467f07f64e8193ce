"""From reader to writer: campaign, catch up to E, promote, drain, prove.

The invariant: every step is given up the moment the attempt or the reign is over, whatever ended it (a higher epoch, a
lost lease, PostgreSQL's death, a resignation): all of these come together in `Ownership.ended`.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import psycopg

from borealis_engine.core.effects import Elected
from borealis_engine.postgres.attached import Attached
from borealis_engine.postgres.errors import Cause, PromotionFailed, ReignEnded
from borealis_engine.postgres.guard import Guard, take_first_place
from borealis_engine.postgres.latency import Latency
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.ownership import Ownership
from borealis_engine.postgres.process import choose_grace
from borealis_engine.postgres.promotion import catch_up, promote, prove_writable

T = TypeVar("T")
CAMPAIGN_S: Final = 8.0  # and twice the lease: an election that takes longer is given up; the operator asks again
CREATION_S: Final = 120.0  # the same while image 0 is made and uploaded


async def campaign(ownership: Ownership, *, lease: float) -> Elected:
    """Be elected; ReignEnded after 2 * lease + CAMPAIGN_S (more for a creation), or when the attempt ends before."""
    ownership.start()
    results: set[asyncio.Future[Any]] = {ownership.elected, ownership.ended}
    await asyncio.wait(results, timeout=2 * lease + CAMPAIGN_S, return_when=asyncio.FIRST_COMPLETED)
    if ownership.creating:
        await asyncio.wait(results, timeout=CREATION_S, return_when=asyncio.FIRST_COMPLETED)
    if ownership.ended.done():
        ownership.ended.result()
    if not ownership.elected.done():
        raise ReignEnded(f"not elected: {ownership.waiting or 'no four storage nodes answer'}")
    return ownership.elected.result()


async def prepare(attached: Attached, ownership: Ownership, elected: Elected) -> None:
    """Replay up to E; after this, and only then, there is something to promote. May be undone."""
    server = attached.server
    server.died.add_done_callback(
        lambda died: ownership.end(f"PostgreSQL ended with {died.result()}", Cause.SERVER_DIED)
    )
    attached.feed.learn(elected.history, elected.end)
    await _unless_ended(ownership, catch_up(attached, elected.end))


async def take_over(
    attached: Attached, ownership: Ownership, elected: Elected, *, lease: float, latency: Latency,
    given_up: asyncio.Event,
) -> None:  # fmt: skip
    """Promote and commit once. No way back from here: any error ends the instance.

    `given_up` is set whenever a commit has given up its wait for the volume.

    From here on PostgreSQL is gone within the nodes' lease of `lease` seconds, whatever this instance waits for then.
    """
    server = attached.server
    ownership.ended.add_done_callback(lambda ended: server.shoot(choose_grace(lease)))

    async def connect() -> LogWriter:
        return await LogWriter.connect(
            attached.site.door, ownership, start=elected.end, timeline=elected.epoch, latency=latency, held=True
        )

    writer = await _unless_ended(ownership, take_first_place(attached.site.door, connect))
    await _unless_ended(ownership, promote(attached, elected.epoch, elected.end))
    writer.release()
    writer.ended.add_done_callback(lambda ended: ownership.end(str(ended.exception()), Cause.SERVER_DIED))
    ownership.attach(writer)
    ownership.spawn(Guard(attached.site.door, ownership, writer, given_up, lease=lease).run())
    await _unless_ended(ownership, prove_writable(attached, elected.epoch))


async def _unless_ended(ownership: Ownership, work: Coroutine[Any, Any, T]) -> T:
    """Do a step; ReignEnded if the reign is over first."""
    task = asyncio.create_task(work)
    either: set[asyncio.Future[Any]] = {task, ownership.ended}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if ownership.ended.done():
            ownership.ended.result()
        return await task
    except psycopg.Error as error:
        raise PromotionFailed(f"PostgreSQL refuses: {error}") from error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
