"""Commits gather in the log writer while two pieces of log are under way, and a single client never waits."""

import struct
from collections.abc import Callable
from typing import Any, cast

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.postgres.logwriter import ENOUGH, UNDER_WAY, LogWriter

START = Lsn(1 << 24)


class Volume:
    """A sink that takes what there is room for."""

    def __init__(self) -> None:
        self.room = 1 << 20
        self.offered: list[bytes] = []

    def offer(self, lsn: Lsn, data: bytes) -> None:
        assert lsn == START + sum(map(len, self.offered))
        self.offered.append(data)

    @property
    def end(self) -> Lsn:
        return Lsn(START + sum(map(len, self.offered)))


class Wire:
    """A transport that remembers whether it reads."""

    def __init__(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

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


async def test_what_comes_while_two_pieces_are_under_way_goes_as_one(pair: tuple[Volume, Server]) -> None:
    volume, server = pair
    for number in range(UNDER_WAY + 3):
        server.send(bytes([number]))
    assert volume.offered == [b"\0", b"\1"]
    assert server.wire.reading, "more company is welcome"
    server.writer.durable(Lsn(START + 1))
    assert volume.offered == [b"\0", b"\1", b"\2\3\4"]


async def test_much_log_does_not_wait_for_company(pair: tuple[Volume, Server]) -> None:
    volume, server = pair
    for _ in range(UNDER_WAY):
        server.send(b"x")
    server.send(bytes(ENOUGH))
    assert [len(piece) for piece in volume.offered] == [1, 1, ENOUGH]


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
