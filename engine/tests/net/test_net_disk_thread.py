"""Where an append is done: in the loop while the disk is swift, in the thread while it is slow, always in order."""

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.core.journal import Logged, Record
from borealis_engine.net.disk_thread import PATIENCE, SMALL, SWIFT_S, DiskThread

DEADLINE_S = 20.0


class Paper:
    """A journal whose appends take as long as the test says, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.takes = 0.0
        self.fails = False
        self.done: list[tuple[int, bool]] = []  # (LSN, whether in the loop's thread)
        self._loop_thread = threading.get_ident()

    def append(self, records: Sequence[Record]) -> None:
        self.now += self.takes
        if self.fails:
            raise OSError("no space left")
        (record,) = records
        assert isinstance(record, Logged)
        self.done.append((record.lsn, threading.get_ident() == self._loop_thread))

    def clock(self) -> float:
        return self.now


class Desk:
    """A disk thread that is given one append after another, as a node gives them."""

    def __init__(self, paper: Paper) -> None:
        self.paper = paper
        self.thread = DiskThread(paper, asyncio.get_running_loop(), paper.clock)
        self.lsn = 0

    async def append(self, size: int = 10) -> Exception | None:
        finished: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.thread.append(
            [Logged(lsn=Lsn(self.lsn), data=bytes(size))], lambda failure, _: finished.set_result(failure)
        )
        assert not finished.done(), "called before append returned"
        self.lsn += size
        async with asyncio.timeout(DEADLINE_S):
            return await finished

    async def appends(self, count: int, size: int = 10) -> list[bool]:
        """Append some; give for each whether it was done in the loop."""
        for _ in range(count):
            assert await self.append(size) is None
        return [here for _, here in self.paper.done[-count:]]


@pytest.fixture
async def desk() -> Iterator[Desk]:  # type: ignore[misc]
    made = Desk(Paper())
    yield made
    made.thread.stop()


async def test_a_swift_disk_is_written_in_the_loop_after_some_patience(desk: Desk) -> None:
    assert await desk.appends(PATIENCE - 1) == [False] * (PATIENCE - 1)
    assert await desk.appends(5) == [True] * 5


async def test_a_slow_append_sends_the_next_ones_to_the_thread(desk: Desk) -> None:
    await desk.appends(PATIENCE)
    desk.paper.takes = 2 * SWIFT_S
    assert await desk.appends(2 * PATIENCE) == [True, *[False] * (PATIENCE - 1)] * 2
    assert [lsn for lsn, _ in desk.paper.done] == sorted(lsn for lsn, _ in desk.paper.done)


async def test_a_long_append_never_holds_up_the_loop(desk: Desk) -> None:
    await desk.appends(PATIENCE)
    assert await desk.appends(1, SMALL + 1) == [False]
    assert await desk.appends(1, SMALL) == [True]


async def test_what_follows_an_append_in_the_thread_waits_its_turn(desk: Desk) -> None:
    await desk.appends(PATIENCE)
    finished = asyncio.Event()
    for lsn, size in ((1, SMALL + 1), (2, 10)):
        done = finished.set if lsn == 2 else lambda: None
        desk.thread.append([Logged(lsn=Lsn(lsn), data=bytes(size))], lambda failure, seconds, done=done: done())
    async with asyncio.timeout(DEADLINE_S):
        await finished.wait()
    assert desk.paper.done[-2:] == [(1, False), (2, False)]


@pytest.mark.parametrize("before", [0, PATIENCE], ids=["in the thread", "in the loop"])
async def test_a_failure_is_told_not_raised(desk: Desk, before: int) -> None:
    if before:
        await desk.appends(before)
    desk.paper.fails = True
    assert isinstance(await desk.append(), OSError)
