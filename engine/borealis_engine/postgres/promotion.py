"""From hot standby to primary on a timeline whose number is the epoch.

The invariant: nothing is promoted but a standby that has replayed exactly E, the end that the election settled on
four storage nodes; and the new timeline forks off exactly there (S == E), or the instance is given up.
"""

import asyncio
from dataclasses import replace
from typing import Final, TypeAlias

from borealis_engine.contract.volume import Epoch, Lsn, format_lsn
from borealis_engine.postgres import directory, timelines
from borealis_engine.postgres.attached import Attached
from borealis_engine.postgres.errors import PromotionFailed
from borealis_engine.postgres.feed import Feed
from borealis_engine.postgres.sql import Session, persist, progress, session

REPLAY_S: Final = 30.0  # without any progress, counted in bytes: a record may have 1 GB
PROMOTE_S: Final = 30.0
POLL_S: Final = 0.005
Positions: TypeAlias = tuple[int, int, int, int]  # replayed, received, passed on, scanned


async def catch_up(attached: Attached, end: Lsn) -> None:
    """Prepare the slot and wait until replay has reached E; queries in its way are cancelled.

    PromotionFailed if replay goes beyond E, or nothing comes and nothing is replayed for REPLAY_S. The standby stays
    one.
    """
    attached.feed.goal = end
    await attached.adopt(replace(attached.configuration, urgent=True))

    async def replay(connection: Session) -> None:
        await attached.slots.reserve(connection)
        await _replay(connection, attached.feed, end)

    await persist(attached.site.door, replay)


async def stay_standby(attached: Attached) -> None:
    """Undo what `catch_up` prepared, after an election that came to nothing."""
    attached.feed.goal = Lsn(0)
    await attached.adopt(replace(attached.configuration, urgent=False))
    await persist(attached.site.door, attached.slots.release)


async def promote(attached: Attached, epoch: Epoch, end: Lsn) -> None:
    """Promote to timeline `epoch`, which forks off at E; PromotionFailed if PostgreSQL did anything else.

    Numbers between the timeline that it is on and the epoch get empty history files, so that PostgreSQL finds the
    epoch's number to be the first free one (findNewestTimeLine, access/timeline.c). It has those below already.
    """
    settled = next(reign.epoch for reign in reversed(attached.feed.history) if reign.epoch < epoch)
    files = timelines.burnt_files(settled, epoch)
    await asyncio.to_thread(directory.write_histories, attached.data, files, account=attached.site.account)
    try:
        async with asyncio.timeout(PROMOTE_S), session(attached.site.door) as connection:
            await connection.execute("select pg_promote(false)")
            while (await progress(connection)).in_recovery:  # noqa: ASYNC110 (PostgreSQL tells nobody)
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise PromotionFailed(f"PostgreSQL is in recovery {PROMOTE_S} s after pg_promote") from error
    _verify(attached, epoch, end)


async def prove_writable(attached: Attached, epoch: Epoch) -> None:
    """Commit once through the volume: returns when a quorum has it."""
    async with session(attached.site.door) as connection:
        await connection.execute("select pg_logical_emit_message(true, 'borealis', %s)", (f"epoch {epoch}",))


def _verify(attached: Attached, epoch: Epoch, end: Lsn) -> None:
    try:
        parent, switchpoint = directory.read_history(attached.data, epoch)
    except OSError as error:
        raise PromotionFailed(f"PostgreSQL did not begin timeline {epoch}") from error
    if switchpoint != end:
        where = f"{format_lsn(switchpoint)} of timeline {parent}"
        raise PromotionFailed(f"timeline {epoch} forked off at {where}, not at E = {format_lsn(end)}")


async def _replay(connection: Session, feed: Feed, end: Lsn) -> None:
    clock = asyncio.get_running_loop().time
    reached, since = (0, 0, 0, 0), clock()
    while (seen := await progress(connection)).replay != end:
        if seen.replay > end:
            raise PromotionFailed(f"replay is at {format_lsn(seen.replay)}, beyond E = {format_lsn(end)}")
        further = _farthest(reached, (seen.replay, seen.receive, feed.passed, feed.scanned))
        if further != reached:
            reached, since = further, clock()
        if clock() - since > REPLAY_S:
            raise PromotionFailed(f"replay stands at {format_lsn(seen.replay)}, below E = {format_lsn(end)}")
        await asyncio.sleep(POLL_S)


def _farthest(one: Positions, other: Positions) -> Positions:
    """Give the higher of each; a receiver that begins a segment anew shows a lower position, which is no progress."""
    return max(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
