"""Commits of many clients gather in the log writer; a single client never waits."""

import asyncio
import ctypes
import os
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from borealis_engine import native
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.postgres.crowd import EVERY_S, QUEUED, Crowd
from borealis_engine.postgres.gathering import HOLD_S, SINGLES, Gathering
from borealis_engine.postgres.latency import BOUNDS_S
from borealis_engine.postgres.logwriter import ENOUGH, LogWriter
from hypothesis import given, settings
from hypothesis import strategies as st

START = Lsn(1 << 24)


class Volume:
    """A sink that takes what there is room for."""

    def __init__(self) -> None:
        self.room = 1 << 20
        self.offered: list[bytes] = []
        self.more = asyncio.Event()

    def reclaim(self) -> None:
        """Nothing is lent."""

    def offer(self, lsn: Lsn, data: bytes) -> None:
        assert lsn == START + sum(map(len, self.offered))
        self.offered.append(data)
        self.more.set()

    @property
    def end(self) -> Lsn:
        return Lsn(START + sum(map(len, self.offered)))


class Wire:
    """A transport that remembers whether it reads."""

    def __init__(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


class Server:
    """PostgreSQL's end of the stream."""

    def __init__(self, volume: Volume) -> None:
        self.wire = Wire()
        self.writer = LogWriter(volume, start=START, timeline=Epoch(2))
        self.writer.connection_made(cast(Any, self.wire))
        self._at = int(START)
        for kind, body in ((b"R", bytes(4)), (b"Z", b"I"), (b"W", b"\0\0\0")):
            self.writer.data_received(_packet(kind, body))

    def send(self, data: bytes) -> None:
        self.writer.data_received(_packet(b"d", b"w" + struct.pack(">QQQ", self._at, self._at, 0) + data))
        self._at += len(data)


def _packet(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


@pytest.fixture
async def pair() -> Any:
    volume = Volume()
    server = Server(volume)
    yield volume, server
    server.writer.connection_lost(None)


async def test_a_single_client_never_waits(pair: tuple[Volume, Server]) -> None:
    volume, server = pair
    for number in range(5):
        server.send(b"x")
        assert len(volume.offered) == number + 1
        server.writer.durable(volume.end)


async def test_what_comes_while_a_piece_is_under_way_goes_as_one(pair: tuple[Volume, Server]) -> None:
    volume, server = pair
    for number in range(SINGLES + 3):
        server.send(bytes([number]))
    assert volume.offered == [b"\0", b"\1"]
    assert server.wire.reading, "more company is welcome"
    server.writer.durable(Lsn(START + 1))
    assert volume.offered == [b"\0", b"\1", b"\2\3\4"]
    for number in range(3):
        server.send(bytes([number]))
    server.writer.durable(Lsn(START + 2))
    assert len(volume.offered) == 3, "now they go one by one"
    server.writer.durable(volume.end)
    assert volume.offered[3] == b"\0\1\2"


async def test_what_came_alone_waits_for_those_who_were_released_but_not_for_long(pair: tuple[Volume, Server]) -> None:
    volume, server = pair
    for number in range(4):
        server.send(bytes([number]))
    server.writer.durable(volume.end)  # so two left together
    await asyncio.sleep(HOLD_S / 10)  # a flight that is worth waiting for
    server.writer.durable(volume.end)
    server.send(b"a")
    assert volume.offered == [b"\0", b"\1", b"\2\3"]
    volume.more.clear()
    async with asyncio.timeout(5):
        await volume.more.wait()
    assert volume.offered[3] == b"a"


async def test_much_log_does_not_wait_for_company(pair: tuple[Volume, Server]) -> None:
    volume, server = pair
    for _ in range(SINGLES):
        server.send(b"x")
    server.send(bytes(ENOUGH))
    assert [len(piece) for piece in volume.offered] == [1, 1, ENOUGH]


def play(clients: int, *, work: float, flight: float, pieces: int) -> tuple[float, float]:
    """Let clients commit, each `work` times its number (s) after its release; give commits per piece and second."""
    gathering, now, sizes, waiting = Gathering(), 0.0, list[int](), list[int]()
    comes = {client: client * work for client in range(1, clients + 1)}  # when its commit comes
    away = deque[tuple[float, Lsn, list[int]]]()  # when a piece lands, its end, whose commits it holds
    while len(sizes) < pieces:
        soonest = min(comes, key=comes.__getitem__, default=0)
        if away and (not soonest or away[0][0] <= comes[soonest]):
            now, end, released = away.popleft()
            gathering.landed(end, now)
            comes |= {client: now + client * work for client in released}
        else:
            now = comes.pop(soonest)
            waiting.append(soonest)
            gathering.came()
        hold = gathering.hold(now) if waiting else None
        if hold is not None and now + hold <= min([*comes.values(), *(piece[0] for piece in away)], default=now + hold):
            now += hold
            sizes.append(len(waiting))
            gathering.left(Lsn(len(sizes)), now)
            away.append((now + flight, Lsn(len(sizes)), waiting))
            waiting = []
    return sum(sizes) / len(sizes), sum(sizes) / now


def test_many_clients_share_pieces_and_few_lose_nothing_by_it() -> None:
    """Against what each would reach if every commit left at once, on a machine where pieces cost nothing."""
    for clients, company, share in ((1, 1, 0.99), (2, 1, 0.99), (4, 1.9, 0.75), (16, 5, 0.75), (64, 10, 0.75)):
        gathered, rate = play(clients, work=0.00025, flight=0.001, pieces=300)
        alone = sum(1 / (client * 0.00025 + 0.001) for client in range(1, clients + 1))
        assert gathered >= company
        assert rate >= share * alone


def test_a_stall_of_the_volume_does_not_make_commits_wait_for_long() -> None:
    gathering = Gathering()
    for _ in range(2):
        gathering.came()
    gathering.left(Lsn(1), 0.0)
    gathering.landed(Lsn(1), 30.0)
    gathering.came()
    assert gathering.hold(30.0) == pytest.approx(HOLD_S)
    assert gathering.hold(30.001 + HOLD_S) == 0.0


@pytest.mark.parametrize(
    ("most", "left", "crowded"),
    [(1, 1, 1), (2, 2, 2), (4, 4, 4), (4, 3, 4), (30, 3, 6), (30, 8, 16), (12, 8, 12)],
)
def test_on_a_crowded_machine_twice_as_many_are_waited_for_if_so_many_there_are(
    most: int, left: int, crowded: int
) -> None:
    for machine, company in ((False, left), (True, crowded)):
        gathering = Gathering(lambda machine=machine: machine)  # type: ignore[misc]
        for end, together in enumerate((most, left), 1):
            for _ in range(together):
                gathering.came()
            gathering.left(Lsn(end), 1.0)
            gathering.landed(Lsn(end), 1.001)
        assert wait_for_company(gathering) == company


def test_how_many_left_together_is_forgotten_when_they_do_not_any_more() -> None:
    gathering = Gathering(lambda: True)
    for together in (30, *[3] * 500):
        for _ in range(together):
            gathering.came()
        gathering.left(Lsn(1), 1.0)
        gathering.landed(Lsn(1), 1.001)
    assert wait_for_company(gathering) == 3


def wait_for_company(gathering: Gathering) -> int:
    """Give how many came until none was waited for any more."""
    came = 0
    while gathering.hold(1.001) != 0:
        gathering.came()
        came += 1
    return came


@pytest.mark.skipif(native.library() is None, reason="the native library is not built here")
@given(
    crowded=st.booleans(),
    steps=st.lists(st.tuples(st.sampled_from((*["came"] * 4, "left", "landed")), st.floats(0, 0.002)), max_size=60),
)
@settings(max_examples=300, deadline=None)
def test_the_library_gathers_by_the_same_rules(crowded: bool, steps: list[tuple[str, float]]) -> None:
    library, state, gathering = native.library(), native.ReignState(), Gathering(lambda: crowded)
    assert library is not None
    bounds, end, now = (ctypes.c_double * len(BOUNDS_S))(*BOUNDS_S), 0, 1.0
    gathering.describe(state)
    for what, seconds in steps:
        now += seconds
        if what == "came":
            gathering.came()
            state.waiting += 1
        elif what == "left":
            end += 1
            gathering.left(Lsn(end), now)
            library.gathering_left(state, end, now)
        else:
            state.durable = max(0, end - int(seconds * 2000))
            gathering.landed(Lsn(state.durable), now)
            library.gathering_landed(state, now, bounds, len(BOUNDS_S))
        hold = library.gathering_hold(state, now)
        assert (None if hold < 0 else hold) == gathering.hold(now)
    told = native.ReignState()
    gathering.describe(told)
    for field in ("waiting", "left", "most", "flight", "until", "pieces"):
        assert getattr(state, field) == getattr(told, field)
    assert sum(state.counts) == end - len(state.pieces)


def test_a_machine_is_crowded_while_many_threads_queue_for_each_processor(tmp_path: Path) -> None:
    load, now = tmp_path / "loadavg", [0.0]
    crowd = Crowd(load, lambda: now[0])

    def after(looks: int, running: int) -> bool:
        load.write_text(f"9.00 9.00 9.00 {running}/300 4242\n")
        for _ in range(looks):
            now[0] += EVERY_S
            crowd()
        return crowd()

    many = (os.cpu_count() or 1) * QUEUED * 2
    assert not after(1, many), "one look proves nothing"
    assert after(20, many)
    assert not after(20, 3)
    assert after(20, many)
    load.unlink()
    for _ in range(20):
        now[0] += EVERY_S
        crowd()
    assert not crowd(), "where it cannot be known, nothing is crowded"


@pytest.mark.parametrize("free", [lambda volume: ENOUGH, lambda volume: 1 << 20], ids=["little", "much"])
async def test_without_room_postgresql_waits_until_there_is_some(
    pair: tuple[Volume, Server], free: Callable[[Volume], int]
) -> None:
    volume, server = pair
    volume.room = 0
    server.send(bytes(ENOUGH))
    assert not volume.offered
    assert not server.wire.reading
    volume.room = free(volume)
    server.writer.durable(START)
    assert len(volume.offered) == 1
    assert server.wire.reading
