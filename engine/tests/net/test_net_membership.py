"""Real storage nodes under load while a member is replaced: nothing acknowledged is lost, no append fails."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from borealis_engine.contract.status import StorageState, StorageStatus
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.net.testing import StorageNodes, WriterDriver
from borealis_engine.net.testing.driver import WAL_END

pytestmark = pytest.mark.slow  # seven processes for each test

LEASE_S = 2.0
DEADLINE_S = 30.0
WINDOW = 4 << 20  # bytes
PIECE = bytes(range(256)) * 16


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[StorageNodes]:
    async with StorageNodes(tmp_path, lease_s=LEASE_S) as running:
        yield running


class Load:
    """Appends one after the other, and remembers what was acknowledged."""

    def __init__(self, driver: WriterDriver) -> None:
        self.driver = driver
        self.written = bytearray()
        self.slowest = 0.0  # seconds
        self._stop = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._stop:
            piece = len(self.written).to_bytes(8) + PIECE
            began = time.monotonic()
            await self.driver.append(piece)  # raises if it is not acknowledged in time
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.written += piece
            await asyncio.sleep(0.002)

    async def more(self, count: int) -> None:
        """Wait until so many more were acknowledged; raises what an append raised."""
        wanted = len(self.written) + count * (8 + len(PIECE))
        async with asyncio.timeout(DEADLINE_S):
            while len(self.written) < wanted:
                if self._task.done():
                    await self._task
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End, after the last append; raises what an append raised."""
        self._stop = True
        await self._task


async def until_state(nodes: StorageNodes, number: int, state: StorageState, generation: int) -> StorageStatus:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            status = await nodes.status(number)
            if (status.state, status.generation) == (state, generation):
                return status
            await asyncio.sleep(0.02)


async def log_of(driver: WriterDriver, nodes: StorageNodes, number: int, upto: int, epoch: Epoch) -> bytes:
    member = nodes.known(number).id
    return await driver.members.read_log_bytes(member, start=WAL_END, upto=Lsn(upto), epoch=epoch)


async def test_a_member_whose_disk_was_wiped_is_replaced_under_load(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes, window=WINDOW) as driver:
        elected = await driver.reign()
        for _ in range(24):
            await driver.append(bytes(1 << 20))  # more than the writer keeps, and than one donor is asked for
        load = Load(driver)
        await load.more(20)
        await nodes.kill(2)
        shutil.rmtree(nodes.data(2))
        joint = await nodes.join(6, replaces=2)
        await nodes.push(joint, 0, 3)  # the writer and the others learn it from each other
        joined = await until_state(nodes, 6, StorageState.CURRENT, joint.generation)
        assert joined.promised >= elected.epoch
        final = nodes.joined()
        await nodes.push(final, 6)
        async with asyncio.timeout(DEADLINE_S):
            while driver.writer.config != final:  # noqa: ASYNC110 - the core tells nobody
                await asyncio.sleep(0.01)
        await nodes.kill(1, 5)  # two members less: from here on each commit needs the new one
        await load.more(20)
        await load.stop()
        assert not driver.over.done()
        assert (driver.writer.epoch, driver.writer.config) == (elected.epoch, final)
        end = elected.end + (24 << 20) + len(load.written)
        for number in (0, 3, 4, 6):
            await nodes.reaches(number, epoch=elected.epoch, flush=end)
            held = await log_of(driver, nodes, number, end, elected.epoch)
            assert held[24 << 20 :] == load.written
        assert load.slowest < LEASE_S, f"{len(load.written) // len(PIECE)} appends"
        assert "pulling log" in nodes.log(6)


async def test_a_member_that_was_replaced_and_lives_is_retired(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        await driver.append_when_elected(b"before")
        joint = await nodes.join(6, replaces=4)
        await nodes.push(joint, *range(6))
        await until_state(nodes, 6, StorageState.CURRENT, joint.generation)
        final = nodes.joined()
        await nodes.push(final, 0)
        await driver.append(b"after")
        await nodes.kill(4)
        await nodes.start(4, format_disk=False)  # as made before: told the configuration by the operator only later
        await nodes.push(final, 4)
        status = await until_state(nodes, 4, StorageState.RETIRED, final.generation)
        assert "not a member" in status.message
        await nodes.kill(4)
        await nodes.start(4, format_disk=False)
        assert (await nodes.status(4)).state is StorageState.RETIRED


async def test_a_replacement_that_is_given_up_leaves_the_old_six(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        await driver.append_when_elected(b"before")
        old = nodes.config
        joint = await nodes.join(6, replaces=1)
        await nodes.push(joint, *range(6))
        await until_state(nodes, 6, StorageState.CURRENT, joint.generation)
        await nodes.push(nodes.given_up(), 0, 6)
        await driver.append(b"after")
        await until_state(nodes, 6, StorageState.RETIRED, nodes.config.generation)
        await nodes.kill(0, 2)
        await driver.append(b"with the old four")
        assert driver.writer.config.members == old.members
