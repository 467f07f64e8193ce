"""A writer over six real storage nodes and a PostgreSQL that the test plays: commits go the native library's way.

The test speaks to the log writer without a look at the event loop, so whatever is answered then is the library's.
"""

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from borealis_engine import native
from borealis_engine.contract.names import ROLE_INSTANCE
from borealis_engine.contract.volume import Lsn
from borealis_engine.net.testing import StorageNodes
from borealis_engine.net.testing.driver import WAL_END, make_image
from borealis_engine.postgres.image import Image, open_image
from borealis_engine.postgres.latency import Latency
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.ownership import Ownership
from borealis_engine.proto.pgwire import Inbox, packet, parse_reply, render_keepalive, render_xlog_data

pytestmark = [
    pytest.mark.slow,  # six nodes for each test
    pytest.mark.skipif(native.library() is None, reason="the native library is not built here"),
]
DEADLINE_S = 20.0
STATUS_S = 0.02


class PostgreSQL:
    """The walsender's end of the log writer's connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.end, self.durable = sock, WAL_END, WAL_END
        self.log = bytearray()
        self._inbox, self._greeted = Inbox(), False
        sock.settimeout(DEADLINE_S)

    def greet(self) -> None:
        self.sock.sendall(packet(b"R", bytes(4)) + packet(b"Z", b"I") + packet(b"W", b"\0\0\0"))

    def wal(self, size: int) -> bytes:
        """Give WAL in a message, as if it had been sent."""
        data = os.urandom(size)
        sent = render_xlog_data(self.end, self.end, data, time.time())
        self.end, self.log = Lsn(self.end + size), self.log + data
        return sent

    def hear(self) -> None:
        """Take what the log writer reports; D never recedes, and is never above what was sent."""
        data = self.sock.recv(1 << 16)
        assert data, "the log writer has ended"
        self._inbox.receive_data(data)
        if not self._greeted:
            self._greeted = self._inbox.startup() is not None
        for each in self._inbox.packets():
            if each.kind == b"d" and (status := parse_reply(each.body)) is not None:
                assert status.flush <= self.end
                assert (status.write, status.apply) == (status.flush, status.flush)
                self.durable = max(self.durable, status.flush)

    def commit(self, size: int) -> None:
        """Send WAL and wait until all of it is durable."""
        self.sock.sendall(self.wal(size))
        while self.durable < self.end:
            self.hear()


class Reigning:
    """An elected owner with a log writer."""

    def __init__(self, nodes: StorageNodes, owner: Ownership, writer: LogWriter, postgres: PostgreSQL) -> None:
        self.nodes, self.owner, self.writer, self.postgres = nodes, owner, writer, postgres
        self.latency = writer._latency

    async def lent(self) -> None:
        lane = self.owner._lane
        assert lane is not None
        await self.until(lambda: lane.lent)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(STATUS_S)

    async def held(self, number: int) -> bytes:
        """What a member holds of the log that was sent, up to what is durable."""
        members, id = self.owner._members, self.nodes.known(number).id
        return await members.read_log_bytes(id, start=WAL_END, upto=self.postgres.durable, epoch=self.owner.epoch)


@pytest.fixture
async def reigning(tmp_path: Path) -> AsyncIterator[Reigning]:
    digest, blob = make_image()

    async def image() -> Image:
        return open_image(blob, digest)

    async with StorageNodes(tmp_path, lease_s=8.0) as nodes:
        config, tls = nodes.config, nodes.tls(ROLE_INSTANCE)
        owner = Ownership(config=config, tls=tls, lease=8.0, segment_size=16 << 20, make_image=image)
        owner.start()
        ours, theirs = socket.socketpair()
        try:
            async with asyncio.timeout(DEADLINE_S):
                elected = await owner.elected
                await wait_for_all(owner)
                writer = LogWriter(owner, start=elected.end, timeline=elected.epoch, latency=Latency())
                await asyncio.get_running_loop().create_unix_connection(lambda: writer, sock=theirs)
            owner.attach(writer)
            postgres = PostgreSQL(ours)
            postgres.greet()
            yield Reigning(nodes, owner, writer, postgres)
            writer.close()
        finally:
            await owner.aclose(resign=False)
            ours.close()


async def wait_for_all(owner: Ownership) -> None:
    while not all(each.behind == 0 for each in owner.standings):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(STATUS_S)


async def test_commits_need_no_event_loop(reigning: Reigning) -> None:
    await reigning.lent()
    for number in range(300):
        reigning.postgres.commit(1 + 37 * number)
    assert reigning.owner._core.durable < reigning.postgres.durable, "Python has not been told yet"
    assert reigning.owner.durable == reigning.postgres.end
    assert sum(reigning.latency.counts) == 300
    assert reigning.latency.bytes == len(reigning.postgres.log)
    await reigning.until(lambda: all(each.behind == 0 for each in reigning.owner.standings))
    for number in range(6):
        assert await reigning.held(number) == reigning.postgres.log


async def test_two_frozen_members_cost_no_commit_and_catch_up(reigning: Reigning) -> None:
    await reigning.lent()
    async with reigning.nodes.frozen(1, 4):
        for _ in range(40):
            reigning.postgres.commit(300)
        for _ in range(200):  # more than may be under way to one member, and than one lending keeps
            await asyncio.to_thread(reigning.postgres.commit, 128 * 1024)
        behind = [each.behind for each in reigning.owner.standings]
        assert sorted(behind)[:4] == [0, 0, 0, 0]
        assert behind[1] == behind[4] == len(reigning.postgres.log)
    await reigning.until(lambda: all(each.behind == 0 for each in reigning.owner.standings))
    for number in (1, 4):
        assert await reigning.held(number) == reigning.postgres.log


async def test_without_four_nothing_is_reported(reigning: Reigning) -> None:
    await reigning.lent()
    async with reigning.nodes.frozen(0, 2, 5):
        reigning.postgres.sock.sendall(reigning.postgres.wal(300))
        reigning.postgres.sock.settimeout(0.3)
        with suppress(TimeoutError):
            while True:
                reigning.postgres.hear()
        assert reigning.owner.durable == reigning.postgres.durable == WAL_END
        assert sorted(each.behind or 0 for each in reigning.owner.standings) == [0, 0, 0, 300, 300, 300]
    reigning.postgres.sock.settimeout(DEADLINE_S)
    await reigning.until(lambda: reigning.owner.durable == reigning.postgres.end)


async def test_whatever_is_torn_or_strange_comes_out_right(reigning: Reigning) -> None:
    """Messages in pieces, others in between, taken back at any moment, members that come and go."""
    dice, postgres = random.Random(5), reigning.postgres
    postgres.sock.setblocking(False)
    unsent, sent = bytearray(), 0
    async with asyncio.timeout(3 * DEADLINE_S):
        while sent < 600 or unsent or postgres.durable < postgres.end:
            if sent < 600 and len(unsent) < 1 << 20:
                sent += 1
                unsent += postgres.wal(dice.choice((1, 40, 700, 9000, 131072)))
                if dice.random() < 0.1:
                    unsent += render_keepalive(postgres.end, time.time(), reply=dice.random() < 0.5)
                if dice.random() < 0.03:
                    unsent += packet(b"N", b"SNOTICE\0Mwell\0\0")
            if dice.random() < 0.02:
                line = dice.choice(list(reigning.owner._members._lines.values()))
                if line.channel is not None:
                    line.channel.close("for a test")
            if dice.random() < 0.2:
                reigning.owner.reclaim()
            if unsent:
                with suppress(BlockingIOError):
                    del unsent[: postgres.sock.send(unsent[: dice.randrange(1, 200_000)])]
            with suppress(BlockingIOError):
                postgres.hear()
            await asyncio.sleep(dice.choice((0, 0, 0.001)))
    assert not reigning.owner.ended.done()
    await reigning.until(lambda: all(each.behind == 0 for each in reigning.owner.standings))
    for number in range(6):
        assert await reigning.held(number) == postgres.log
    await reigning.lent()


async def test_the_end_of_postgresql_ends_the_log_writer(reigning: Reigning) -> None:
    await reigning.lent()
    reigning.postgres.commit(100)
    reigning.postgres.sock.close()
    await reigning.until(reigning.writer.ended.done)
    assert reigning.owner.durable == reigning.postgres.end
