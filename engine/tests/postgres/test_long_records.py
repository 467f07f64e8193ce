"""Records of any size pass in bounded memory: PostgreSQL makes them of up to 1 GB, and any role may ask for one."""

import tracemalloc
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import aclosing
from random import Random

import pytest
from borealis_engine.contract.volume import Epoch, Lsn, Member, MemberId
from borealis_engine.core.effects import SendTo, WriterEffect
from borealis_engine.core.messages import Feed as Sent
from borealis_engine.core.messages import History, LogData, Position, Read, Reign
from borealis_engine.core.recovery import Recovery
from borealis_engine.core.tail import LogEnd
from borealis_engine.postgres import cutter
from borealis_engine.postgres.cutter import Cutter
from borealis_engine.postgres.feed import Feed, System
from borealis_engine.postgres.source import BEGINNING, Feeds
from borealis_engine.proto.testing import PAGE, SEGMENT, WalBuilder
from borealis_engine.proto.wal import LONG_HEADER, SHORT_HEADER, _Window, find_end
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20
PIECE = 256 * 1024  # bytes in one message of a storage node
LONG = 48 * MIB
BOUND = cutter.HELD + 4 * MIB  # what the feed of one reader may need, whatever comes; pieces are copied a few times
MEMBER = Member(id=MemberId("0"), name="n0", zone="a")


@pytest.fixture(scope="module")
def long_log() -> WalBuilder:
    built = WalBuilder()
    for length in (100, LONG, 100):
        built.record(length)
    return built


# --- the cutter -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(
    lengths=st.lists(st.one_of(st.integers(24, 400), st.integers(PAGE, 12 * PAGE)), min_size=1, max_size=15),
    seed=st.integers(),
)
def test_what_a_cutter_holds_is_bounded_and_it_passes_each_byte_of_whole_records_once(
    lengths: list[int], seed: int
) -> None:
    built, random = WalBuilder(), Random(seed)
    for length in lengths:
        built.record(length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutter, "HELD", 3 * PAGE)
        one, got, durable = Cutter(passed=Lsn(built.start), segment_size=SEGMENT), b"", built.start
        while len(got) < len(built.data):
            at = int(one.scanned)
            end = min(built.position, at + random.randint(1, 3 * PAGE))
            durable = max(durable, end)
            piece = one.receive(sent(built, at, end))
            got += piece.data
            assert one.held <= cutter.HELD
            assert built.start + len(got) <= last_end(built, durable), "more than whole records at or below D"
            assert piece.end in built.ends or piece.end % PAGE == 0
            if one.again or random.random() < 0.1:
                one = one.resume()
    assert got == built.data


def test_a_long_record_that_is_not_whole_is_not_held_and_passes_once_it_is(long_log: WalBuilder) -> None:
    one = Cutter(passed=Lsn(long_log.start), segment_size=SEGMENT)
    half = long_log.ends[1] - 8
    for at in range(long_log.start, half, PIECE):
        one.receive(sent(long_log, at, min(at + PIECE, half)))
        assert one.held <= cutter.HELD
    assert (one.passed, one.whole, one.again) == (long_log.ends[0], long_log.ends[0], False)
    one.receive(sent(long_log, half, long_log.position))
    assert one.again
    again = one.resume()
    assert again.receive(sent(long_log, again.start, again.start + PIECE)).data


def sent(built: WalBuilder, start: int, end: int) -> Sent:
    return Sent(lsn=Lsn(start), durable=Lsn(end), data=bytes(view(built)[start:end]), history=None)


class view:
    """The log by LSN."""

    def __init__(self, built: WalBuilder) -> None:
        self._built = built

    def __getitem__(self, at: slice) -> bytes:
        return bytes(memoryview(self._built.data)[at.start - self._built.start : at.stop - self._built.start])


def last_end(built: WalBuilder, upto: int) -> int:
    at = bisect_right(built.ends, upto)
    return built.ends[at - 1] if at else built.start


@settings(deadline=None)
@given(start=st.integers(0, 40 * PAGE), length=st.integers(1, 60 * PAGE), align=st.sampled_from([1, 8]))
def test_a_record_s_end_is_computed_as_by_walking_over_its_pages(start: int, length: int, align: int) -> None:
    header = SHORT_HEADER if start // PAGE * PAGE % SEGMENT else LONG_HEADER
    start = max(start, start // PAGE * PAGE + header)
    at, left = start, length
    while left > (room := PAGE - at % PAGE):
        left, at = left - room, at + room
        at += SHORT_HEADER if at % SEGMENT else LONG_HEADER
    expected = -(-(at + left) // align) * align
    assert _Window(base=Lsn(0), segment_size=SEGMENT)._skip(Lsn(start), length, align=align) == expected


# --- the feed ---------------------------------------------------------------------------------------------------------


class Node:
    """A LogSource of one node that holds the whole log durably."""

    def __init__(self, built: WalBuilder) -> None:
        self.built, self.follows = built, 0
        self.history: History = (Reign(epoch=Epoch(1), start=Lsn(built.start), image="i"),)

    def order(self) -> list[Member]:
        return [MEMBER]

    def demote(self, member: Member) -> None:
        raise AssertionError("the one good node is left")

    async def follow(self, member: Member, start: Lsn) -> Feeds:
        self.follows += 1
        for at in range(start, self.built.position, PIECE):
            data = view(self.built)[at : min(at + PIECE, self.built.position)]
            history = self.history if at == start else None
            yield Sent(lsn=Lsn(at), durable=Lsn(self.built.position), data=data, history=history)

    async def look(self, start: Lsn = BEGINNING) -> tuple[History, Lsn]:
        return self.history, Lsn(self.built.position)


async def test_the_feed_passes_a_long_record_in_bounded_memory_and_in_pieces(long_log: WalBuilder) -> None:
    node = Node(long_log)
    feed = Feed(
        node,
        System(identifier=1, version="15", segment_size=SEGMENT),
        history=node.history,
        durable=Lsn(long_log.position),
    )
    at = long_log.start
    tracemalloc.start()
    try:
        async with aclosing(feed.pieces(Lsn(at))) as pieces:
            async for piece in pieces:
                assert piece.lsn == at or not piece.data
                assert bytes(piece.data) == view(long_log)[at : at + len(piece.data)]
                at += len(piece.data)
                if at == long_log.position:
                    break
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < BOUND, f"{held / MIB:.0f} MiB for a record of {LONG / MIB:.0f} MiB"
    assert node.follows == 2, "scanned once, read once"
    assert feed.whole == feed.passed == long_log.position


# --- recovery's search for E ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [8, PAGE, 20 * MIB, LONG - 3 * PAGE])
def test_recovery_finds_the_end_below_a_long_record_that_is_half_there_in_bounded_windows(
    long_log: WalBuilder, cut: int
) -> None:
    """`cut` bytes of the long record are missing. The log begins at no multiple of ALIGN, as an image's may."""
    flush = Lsn(long_log.ends[1] - cut)
    effects: list[WriterEffect] = []
    history: History = (Reign(epoch=Epoch(1), start=Lsn(long_log.start), image="i"),)
    scanned: list[int] = []

    def scan(start: Lsn, tail: bytes) -> LogEnd | None:
        scanned.append(len(tail))
        return find_end(start, tail, SEGMENT)

    recovery = Recovery(
        donor=MEMBER.id, position=Position(history=history, flush=flush), scan=scan, emit=effects.append
    )
    for read in reads(effects):
        assert read.upto <= flush
        data = view(long_log)[read.start : read.upto]
        recovery.receive(LogData(lsn=read.start, data=data, last=True))
    assert not recovery.failure
    assert recovery.end == LogEnd(end=Lsn(long_log.ends[0]))
    assert max(scanned) <= 9 * MIB


def reads(effects: list[WriterEffect]) -> Iterator[Read]:
    """Give what is asked for until nothing more is."""
    while effects:
        effect = effects.pop(0)
        assert isinstance(effect, SendTo)
        assert isinstance(effect.message, Read)
        yield effect.message
