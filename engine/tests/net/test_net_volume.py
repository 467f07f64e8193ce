"""Six real storage nodes and writers without PostgreSQL: what was acknowledged stays, whoever is killed."""

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from borealis_engine.contract.status import StorageState
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.effects import Elected, Fenced, LeaseLost
from borealis_engine.net.errors import Disconnected, RequestRefused
from borealis_engine.net.testing import StorageNodes, WriterDriver
from borealis_engine.net.testing.driver import DEADLINE_S, WAL_END, WAL_START

pytestmark = pytest.mark.slow  # six processes for each test

LEASE_S = 1.0


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[StorageNodes]:
    async with StorageNodes(tmp_path, lease_s=LEASE_S) as running:
        yield running


async def written(driver: WriterDriver, count: int, seed: int) -> bytes:
    """Append `count` pieces of random bytes, each acknowledged, and give them all."""
    chance = random.Random(seed)
    pieces = [chance.randbytes(chance.choice([1, 100, 5000, 70_000])) for _ in range(count)]
    for piece in pieces:
        await driver.append(piece)
    return b"".join(pieces)


async def log_of(driver: WriterDriver, nodes: StorageNodes, number: int, upto: int, epoch: Epoch) -> bytes:
    return await driver.members.read_log_bytes(
        nodes.config.members[number].id, start=WAL_END, upto=Lsn(upto), epoch=epoch
    )


async def test_two_killed_nodes_stop_nothing_and_catch_up_when_they_return(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        data = await written(driver, 20, 1)
        await nodes.kill(0, 3)
        data += await written(driver, 60, 2)
        await nodes.start(0, 3, format_disk=False)
        data += await written(driver, 20, 3)
        end = elected.end + len(data)
        for number in range(6):
            status = await nodes.reaches(number, epoch=elected.epoch, flush=end)
            assert (status.epoch, status.promised, status.has_image) == (elected.epoch, elected.epoch, True)
            assert await log_of(driver, nodes, number, end, elected.epoch) == data
        assert not driver.over.done()


async def test_three_killed_nodes_stop_commits_until_one_returns(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        await driver.reign()
        await driver.append(b"before")
        await nodes.kill(1, 2, 3)
        lost = await asyncio.wait_for(driver.over, DEADLINE_S)
        assert isinstance(lost, LeaseLost)
        await nodes.start(1, format_disk=False)
    async with WriterDriver(nodes) as successor:
        elected = await successor.reign()
        await successor.append(b"after")
        assert await log_of(successor, nodes, 1, elected.end + 5, elected.epoch) == b"beforeafter"


async def test_the_whole_set_killed_and_started_keeps_everything(nodes: StorageNodes) -> None:
    data = b""
    for round_ in range(3):
        async with WriterDriver(nodes) as driver:
            elected = await driver.reign()
            data += await written(driver, 15, round_)
            await nodes.kill(*range(6))
        await nodes.start(*range(6), format_disk=False)
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        assert elected.end >= WAL_END + len(data)
        assert elected.history[0].start == WAL_START
        for number in range(6):
            await nodes.reaches(number, epoch=elected.epoch, flush=elected.end)
            held = await log_of(driver, nodes, number, elected.end, elected.epoch)
            assert held[: len(data)] == data


async def test_a_competitor_is_refused_while_the_owner_lives_and_fences_it_when_it_was_silent(
    nodes: StorageNodes,
) -> None:
    async with WriterDriver(nodes) as first:
        await first.append_when_elected(b"mine")
        await competition(nodes, first)


async def competition(nodes: StorageNodes, first: WriterDriver) -> None:
    async with WriterDriver(nodes) as second:
        await asyncio.wait_for(second.refused.wait(), DEADLINE_S)
        assert not second.elected.done()
        assert not first.over.done()
        first.freeze()
        elected = await second.reign()
        await second.append(b"yours")
        first.thaw()
        over = await asyncio.wait_for(first.over, DEADLINE_S)
        assert isinstance(over, Fenced | LeaseLost)
        assert elected.epoch > first.writer.epoch
        await nodes.reaches(5, epoch=elected.epoch, flush=elected.end + 5)
        assert await log_of(second, nodes, 5, elected.end + 5, elected.epoch) == b"mineyours"


async def test_after_a_resignation_the_next_need_not_wait(tmp_path: Path) -> None:
    lease_s = 4 * DEADLINE_S  # whoever waits for its end is late
    async with StorageNodes(tmp_path, lease_s=lease_s) as nodes, WriterDriver(nodes) as first:
        await first.append_when_elected(b"x")
        first.resign()
        async with WriterDriver(nodes) as second:
            await second.reign()


async def test_a_feed_follows_d_over_a_change_of_reign(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as first:
        await first.append_when_elected(b"one")
        member = nodes.config.members[2].id
        async with aclosing(first.members.subscribe(member, start=Lsn(0))) as feed:
            got, histories = b"", []
            async for piece in feed:
                assert not piece.data or piece.lsn + len(piece.data) <= piece.durable
                got += piece.data
                if piece.history is not None:
                    histories.append(piece.history)
                if got.endswith(b"one"):
                    break
            assert len(got) == WAL_END - WAL_START + 3
            first.resign()
            async with WriterDriver(nodes) as second:
                elected = await second.reign()
                await second.append(b"two")
                async for piece in feed:
                    got += piece.data
                    if piece.history is not None:
                        histories.append(piece.history)
                    if got.endswith(b"two"):
                        break
        assert got.endswith(b"onetwo")
        assert histories[-1] == elected.history


async def test_nothing_above_d_is_read_without_an_epoch_and_no_other_epoch_is_served(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        await driver.append(b"abc")
        member = nodes.config.members[0].id
        await nodes.reaches(0, epoch=elected.epoch, flush=elected.end + 3, durable=elected.end + 3)
        assert await driver.members.read_log_bytes(member, start=WAL_END, upto=Lsn(1 << 40), epoch=Epoch(0)) == b"abc"
        with pytest.raises(RequestRefused):
            await driver.members.read_log_bytes(member, start=WAL_END, upto=Lsn(1 << 40), epoch=Epoch(99))


async def test_a_lost_disk_is_reported_and_takes_part_in_nothing(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        await nodes.kill(4)
        shutil.rmtree(nodes.data(4))
        await nodes.start(4, format_disk=False)
        await driver.append(b"goes on")
        status = await nodes.status(4)
        assert (status.state, status.flush_lsn) == (StorageState.DISK_LOST, 0)
        assert "empty" in status.message
        with pytest.raises((RequestRefused, Disconnected)):
            await log_of(driver, nodes, 4, elected.end, elected.epoch)


async def test_frozen_nodes_stop_nothing_and_catch_up_when_they_thaw(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        for number in (1, 4):
            nodes.processes[number].send_signal(signal.SIGSTOP)
        data = await written(driver, 40, 4)
        for number in (1, 4):
            nodes.processes[number].send_signal(signal.SIGCONT)
        for number in (1, 4):
            await nodes.reaches(number, epoch=elected.epoch, flush=elected.end + len(data))
        assert not driver.over.done()


async def test_a_damaged_promise_is_reported_and_takes_part_in_nothing(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        await driver.reign()
        await written(driver, 10, 5)
        await nodes.stop(2)
        journal = next((nodes.data(2) / "journal").glob("*.log"))
        promise = journal.read_bytes().index(b'{"epoch":')
        with journal.open("r+b") as file:
            file.seek(promise)
            file.write(b"damage")
        await nodes.start(2, format_disk=False)
        status = await nodes.shows(2, lambda status: "cannot be mended" in status.message)
        assert status.state is StorageState.FAILED
        assert "DiskCorrupt" in status.message
        await driver.append(b"goes on")
        assert nodes.processes[2].returncode is None


async def test_the_image_of_the_volume_can_be_fetched_from_every_member(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        await driver.append(b"x")
        for number, member in enumerate(nodes.config.members):
            await nodes.reaches(number, epoch=elected.epoch, flush=elected.end)
            async with aclosing(driver.members.get_image(member.id, elected.history[0].image)) as pieces:
                size = sum([len(piece.data) async for piece in pieces])
            assert size > 3 << 20


async def test_two_candidates_for_an_empty_volume_leave_one_image(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as first, WriterDriver(nodes) as second:
        done, _ = await asyncio.wait(
            [first.elected, second.elected], timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED
        )
        winner = first if first.elected in done else second
        await winner.append(b"x")
        winner.freeze()
        loser = second if winner is first else first
        elected: Elected = await loser.reign()
        assert elected.history[0] == (await winner.reign()).history[0]
