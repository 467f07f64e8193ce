"""Members that are slow or stand still without being dead: commits go on, memory stays bounded, and they are named."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest
from borealis_engine.core.reign import IN_FLIGHT
from borealis_engine.core.slowness import slow
from borealis_engine.core.writer import WINDOW
from borealis_engine.net.testing import StorageNodes, WriterDriver
from borealis_engine.net.testing.driver import DEADLINE_S

pytestmark = pytest.mark.slow  # six processes for each test

LEASE_S = 60.0  # no connection ends for want of answers, so that all is held that would ever be
AILING = (0, 4)  # of two zones
PIECE = 1 << 20
PIECES = 256
SLACK = 24 << 20  # what the allocator, TLS and the test itself take besides
BOUND = 7 * WINDOW // 4 + len(AILING) * 2 * IN_FLIGHT + SLACK  # docs/volume.md: what a slow member costs


def resident() -> int:
    """Give the bytes of memory that this process, in which the writer is, has now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def send(nodes: StorageNodes, signum: signal.Signals) -> None:
    for number in AILING:
        nodes.processes[number].send_signal(signum)


@asynccontextmanager
async def frozen(nodes: StorageNodes) -> AsyncIterator[None]:
    send(nodes, signal.SIGSTOP)
    try:
        yield
    finally:
        send(nodes, signal.SIGCONT)


@asynccontextmanager
async def delayed(nodes: StorageNodes) -> AsyncIterator[None]:
    """Let them run for a twentieth of the time."""

    async def pulse() -> None:
        while True:
            send(nodes, signal.SIGSTOP)
            await asyncio.sleep(0.2)
            send(nodes, signal.SIGCONT)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(pulse())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        send(nodes, signal.SIGCONT)


@pytest.mark.parametrize("ail", [frozen, delayed])
async def test_two_slow_members_stop_nothing_and_what_is_held_for_them_is_bounded(
    tmp_path: Path, ail: Callable[[StorageNodes], AbstractAsyncContextManager[None]]
) -> None:
    async with StorageNodes(tmp_path, lease_s=LEASE_S) as nodes, WriterDriver(nodes) as driver:
        elected = await driver.reign()
        await driver.append(bytes(PIECE))
        before, most = resident(), 0
        async with ail(nodes):
            for number in range(PIECES):
                await driver.append(bytes([number]) * PIECE)
                most = max(most, resident() - before)
        assert most < BOUND, f"{most >> 20} MiB"
        end = elected.end + (PIECES + 1) * PIECE
        for number in range(6):
            await nodes.reaches(number, epoch=elected.epoch, flush=end)
        assert not driver.over.done()


async def test_frozen_members_are_named_until_they_have_caught_up(tmp_path: Path) -> None:
    async with StorageNodes(tmp_path) as nodes, WriterDriver(nodes) as driver:
        await driver.append_when_elected(b"x")
        ailing = {nodes.config.members[number].name for number in AILING}
        await names_as_slow(driver, set())
        async with frozen(nodes):
            await driver.append(b"goes on")
            await names_as_slow(driver, ailing)
        await names_as_slow(driver, set())
        assert not driver.over.done()


async def test_members_that_answer_late_are_named_though_they_answer(tmp_path: Path) -> None:
    async with StorageNodes(tmp_path) as nodes, WriterDriver(nodes) as driver:
        await driver.append_when_elected(b"x")
        ailing = {nodes.config.members[number].name for number in AILING}
        async with delayed(nodes), asyncio.timeout(DEADLINE_S):
            while set(slow(driver.writer.standings(asyncio.get_running_loop().time()))) != ailing:
                await driver.append(b"x")
        assert not driver.over.done()


async def names_as_slow(driver: WriterDriver, wanted: set[str]) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + DEADLINE_S
    while (named := set(slow(driver.writer.standings(loop.time())))) != wanted:
        assert loop.time() < until, named
        await asyncio.sleep(0.02)
