"""A writer over six real storage nodes: D is awaited in turns of the native library, else heard by the event loop."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from borealis_engine import native
from borealis_engine.contract.names import ROLE_INSTANCE
from borealis_engine.contract.volume import Lsn
from borealis_engine.net.testing import StorageNodes
from borealis_engine.net.testing.driver import WAL_END, make_image
from borealis_engine.postgres.image import Image, open_image
from borealis_engine.postgres.ownership import Ownership

pytestmark = [
    pytest.mark.slow,  # six nodes for each test
    pytest.mark.skipif(native.library() is None, reason="the native library is not built here"),
]
DEADLINE_S = 20.0


class Reigning:
    """An elected owner, and where its log ends."""

    def __init__(self, nodes: StorageNodes, owner: Ownership) -> None:
        self.nodes, self.owner, self.end = nodes, owner, WAL_END
        self.told: list[Lsn] = []
        owner.on_durable = self.told.append

    def offer(self, size: int = 300) -> None:
        self.owner.offer(self.end, os.urandom(size))
        self.end = Lsn(self.end + size)

    def signal(self, signum: signal.Signals, *numbers: int) -> None:
        for number in numbers:
            os.kill(self.nodes.processes[number].pid, signum)


def spin(condition: Callable[[], bool], work: Callable[[], None]) -> None:
    """Do `work` until `condition` holds, without a look at the event loop."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until
        work()


@pytest.fixture
async def reigning(tmp_path: Path) -> AsyncIterator[Reigning]:
    digest, blob = make_image()

    async def image() -> Image:
        return open_image(blob, digest)

    async with StorageNodes(tmp_path, lease_s=8.0) as nodes:
        config, tls = nodes.config, nodes.tls(ROLE_INSTANCE)
        owner = Ownership(config=config, tls=tls, lease=8.0, segment_size=16 << 20, make_image=image)
        owner.start()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await owner.elected
            yield Reigning(nodes, owner)
        finally:
            await owner.aclose(resign=False)


async def test_a_turn_brings_d_without_the_event_loop(reigning: Reigning) -> None:
    for number in range(200):
        reigning.offer(1 + 37 * number)
        spin(lambda: reigning.owner.durable == reigning.end, lambda: reigning.owner.settle(-1))
    assert reigning.told == sorted(set(reigning.told))
    assert reigning.told[-1] == reigning.end


async def test_two_frozen_members_take_no_turn_from_the_others(reigning: Reigning) -> None:
    reigning.signal(signal.SIGSTOP, 1, 4)
    try:
        for _ in range(20):
            reigning.offer()
            spin(lambda: reigning.owner.durable == reigning.end, lambda: reigning.owner.settle(-1))
    finally:
        reigning.signal(signal.SIGCONT, 1, 4)


async def test_the_event_loop_hears_what_no_turn_waited_for(reigning: Reigning) -> None:
    """Without a quorum a turn gives up; its acks are heard when they come."""
    reigning.signal(signal.SIGSTOP, 0, 2, 5)
    try:
        reigning.offer()
        before, heard = reigning.owner.durable, asyncio.Event()
        reigning.owner.on_durable = lambda lsn: heard.set()
        reigning.owner.settle(-1)
        assert reigning.owner.durable == before
    finally:
        reigning.signal(signal.SIGCONT, 0, 2, 5)
    async with asyncio.timeout(DEADLINE_S):
        await heard.wait()
    assert reigning.owner.durable == reigning.end


async def test_a_turn_ends_when_somebody_else_has_something(reigning: Reigning) -> None:
    reader, writer = os.pipe()
    try:
        reigning.signal(signal.SIGSTOP, 0, 2, 5)
        os.write(writer, b"x")
        reigning.offer()
        reigning.owner.settle(reader)  # returns, although nobody acks
        assert reigning.owner.durable < reigning.end
    finally:
        reigning.signal(signal.SIGCONT, 0, 2, 5)
        os.close(reader)
        os.close(writer)
