"""Stock PostgreSQL on the feed: attach, replay, promotion to the epoch's number, and readers that follow."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.postgres import directory
from borealis_engine.postgres.account import Account
from borealis_engine.postgres.attached import Attached
from borealis_engine.postgres.following import Following
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.promotion import catch_up, promote, prove_writable
from borealis_engine.postgres.settings import MIB
from borealis_engine.postgres.sql import Progress, progress, session
from borealis_engine.postgres.testing import MemoryVolume
from borealis_engine.proto.wal import find_end

pytestmark = pytest.mark.postgres
Attach: TypeAlias = Callable[[int], Attached]


class Reign:
    """A log writer over MemoryVolume; `frozen` keeps D where it is."""

    def __init__(self, volume: MemoryVolume) -> None:
        self.volume, self.frozen, self.room = volume, False, 1 << 20
        self.writer: LogWriter | None = None

    def reclaim(self) -> None:
        """Nothing is lent."""

    def offer(self, lsn: Lsn, data: bytes) -> None:
        assert lsn == self.volume.end
        self.volume.append(data, durable=not self.frozen)
        if self.writer and not self.frozen:
            self.writer.durable(self.volume.durable)


async def crown(attached: Attached, volume: MemoryVolume, epoch: int) -> Reign:
    """Make `attached` the writer of `epoch`, as an election would."""
    segment = attached.image.head.description.segment_size
    found = find_end(volume.start, bytes(volume.log), segment)
    assert found
    volume.append(bytes(found.padding), durable=False)
    volume.begin(Epoch(epoch), found.end)
    await catch_up(attached, found.end)
    await promote(attached, Epoch(epoch), found.end)
    reign = Reign(volume)
    reign.writer = await LogWriter.connect(attached.site.door, reign, start=found.end, timeline=Epoch(epoch))
    await prove_writable(attached, Epoch(epoch))
    return reign


async def run(attached: Attached, *statements: str) -> list[tuple[object, ...]]:
    async with session(replace(attached.site.door, plain=True)) as connection:
        for statement in statements:
            cursor = await connection.execute(statement)
        return await cursor.fetchall() if cursor.description else []


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def at(attached: Attached) -> Progress:
    async with session(attached.site.door) as connection:
        return await progress(connection)


async def count(attached: Attached) -> int:
    return int(str((await run(attached, "select count(*) from t"))[0][0]))


async def test_first_writer_then_failover_over_burnt_epochs_and_a_reader_that_follows(
    attach: Attach, volume: MemoryVolume
) -> None:
    lines: list[str] = []
    a, b, c = (attach(n) for n in (1, 2, 3))
    for each in (a, b, c):
        await each.start(lines.append)
    reign = await crown(a, volume, 2)
    await run(a, "create table t(i int)", "insert into t select generate_series(1, 1000)")
    await until(lambda: seen(c, 1000))

    reign.frozen = True  # no quorum: this commit is never acknowledged, and no reader may see it
    hanging = asyncio.create_task(run(a, "insert into t values (0)"))
    unfed = volume.end
    await until(lambda: grown(volume, unfed))
    await a.stop()
    await asyncio.gather(hanging, return_exceptions=True)
    assert isinstance(hanging.exception(), Exception)

    pid = c.server.pid
    del volume.log[volume.durable - volume.start :]  # the tail was on too few nodes
    await crown(b, volume, 7)
    assert (await run(b, "select count(*) from t"))[0] == (1000,)
    assert (await run(b, "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"))[0] == ("00000007",)
    await run(b, "insert into t select generate_series(1, 5)")
    await until(lambda: seen(c, 1005))
    assert c.server.alive
    assert c.server.pid == pid
    assert (await at(c)).timeline == 7

    d = attach(4)  # a fresh one goes straight to the newest timeline
    await d.start(lines.append)
    await until(lambda: seen(d, 1005))
    await b.stop()
    await crown(d, volume, 9)
    await run(d, "insert into t values (1)")
    await until(lambda: seen(c, 1006))


async def test_promotion_after_a_segment_switch_and_inside_a_long_record(attach: Attach, volume: MemoryVolume) -> None:
    lines: list[str] = []
    a, b, c = (attach(n) for n in (1, 2, 3))
    for each in (a, b, c):
        await each.start(lines.append)
    reign = await crown(a, volume, 2)
    await run(a, "create table t(i int)", "insert into t values (1)")
    await run(a, "select pg_switch_wal()")
    await until(lambda: switched(volume, a))
    segment = a.image.head.description.segment_size
    reign.frozen = True
    await a.stop()
    cut = volume.end - 20_000  # the zeros after the switch are held in part only
    del volume.log[cut - volume.start :]
    volume.durable = min(volume.durable, Lsn(cut))
    reign = await crown(b, volume, 3)
    assert volume.history[-1].start % segment == 0
    await run(b, "insert into t values (2)")

    before = volume.end
    long = f"select pg_logical_emit_message(false, 'x', repeat('x', {3 * segment}))"
    await run(b, long, "insert into t values (3)")
    assert volume.end > before + 3 * segment
    await b.stop()
    cut = before + 2 * segment + 5000
    del volume.log[cut - volume.start :]
    volume.settle(Lsn(cut))
    assert (await at(c)).replay >= before  # what was acknowledged had been passed on already: c is ahead
    d = attach(4)
    await d.start(lines.append)
    await crown(d, volume, 5)
    assert volume.history[-1].start <= before + 8192
    assert await count(d) == 2


async def seen(attached: Attached, rows: int) -> bool:
    try:
        return await count(attached) == rows
    except Exception:  # noqa: BLE001 (the table is not there yet)
        return False


async def grown(volume: MemoryVolume, before: Lsn) -> bool:
    return volume.end > before


async def switched(volume: MemoryVolume, attached: Attached) -> bool:
    return volume.end % attached.image.head.description.segment_size == 0


async def test_a_long_record_reaches_a_reader_in_pieces_and_its_candidate_after_the_writer_s_death(
    attach: Attach, volume: MemoryVolume
) -> None:
    """PostgreSQL makes records of up to 1 GB; here one of 80 MiB, and then the half of another one."""
    lines: list[str] = []
    a, b = attach(1), attach(2)
    for each in (a, b):
        await each.start(lines.append)
    reign = await crown(a, volume, 2)
    await run(a, "create table t(i int)", "insert into t values (1)")
    await until(lambda: seen(b, 1))
    before = volume.end
    await run(a, f"select pg_logical_emit_message(true, 'x', repeat('x', {80 * MIB}))", "insert into t values (2)")
    assert volume.end > before + 80 * MIB
    await until(lambda: seen(b, 2))

    reign.frozen = True
    whole = volume.end
    half = asyncio.create_task(run(a, f"select pg_logical_emit_message(true, 'x', repeat('x', {80 * MIB}))"))
    await until(lambda: grown(volume, Lsn(whole + 60 * MIB)))
    await a.stop()
    await asyncio.gather(half, return_exceptions=True)
    cut = whole + 40 * MIB
    del volume.log[cut - volume.start :]
    volume.settle(Lsn(cut))  # D lies inside of it
    c = attach(3)
    await c.start(lines.append)
    following = Following()
    following.begin(c.feed)
    async with session(c.site.door) as connection:
        async with asyncio.timeout(60):
            while not following.caught_up:
                await following.observe(connection, c.feed)
                assert not following.caught_up or following.progress.replay >= c.feed.whole > before + 80 * MIB
                await asyncio.sleep(0.02)
    assert c.feed.scanned == cut
    assert c.feed.passed == c.feed.whole
    await crown(b, volume, 3)
    await run(b, "insert into t values (3)")
    await until(lambda: seen(c, 3))


async def test_a_promotion_after_10000_epochs_makes_the_files_of_the_numbers_burnt_since_alone(
    attach: Attach, volume: MemoryVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files were looked at, and histories rendered, for all epochs: 3 s after 1,000, with a lease of 3.2 s."""
    looked_at: list[int] = []
    write = directory.write_histories

    def count(data: Path, files: Iterable[tuple[str, bytes]], *, account: Account | None) -> None:
        assert threading.current_thread() is not threading.main_thread()
        listed = list(files)
        looked_at.append(len(listed))
        write(data, listed, account=account)

    a = attach(1)
    await a.start(lambda line: None)
    await crown(a, volume, 10_000)
    await run(a, "create table t(i int)", "insert into t values (1)")
    b = attach(2)
    await b.start(lambda line: None)
    await until(lambda: seen(b, 1))
    await a.stop()
    monkeypatch.setattr(directory, "write_histories", count)
    await crown(b, volume, 10_003)
    assert looked_at == [2]
    assert (await run(b, "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"))[0] == (f"{10_003:08X}",)
