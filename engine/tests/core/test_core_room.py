"""Room for log: what a member refuses before its disk is full, what its reserve serves, what the owner makes of it."""

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core import messages as m
from borealis_engine.core.effects import DurableAdvanced, Persist
from borealis_engine.core.room import ALLOWANCE, LAST, LEAST_RESERVE, MIB, MOST_RESERVE, choose_reserve
from borealis_engine.core.steady_reign import HEADWAY
from hypothesis import given
from hypothesis import strategies as st

from . import test_core_writer as writers
from .harness import SECOND, Harness, begin, reason, sent

RESERVE = 32 * MIB
START = SECOND[-1].start
END = writers.END - 10
AMPLE = 1 << 40


def beyond_the_allowance(member: Harness, free: int) -> int:
    """Write the allowance of the leadership, have so much be free then, and give the end of the log."""
    member.node.measured(AMPLE, RESERVE)
    end = START + ALLOWANCE
    [ack] = [a for a in member.ask(member.append(2, START, bytes(ALLOWANCE))) if isinstance(a, m.Ack)]
    assert ack.flush == end
    member.node.measured(free, RESERVE)
    member.drain()
    return end


@pytest.mark.parametrize(
    ("size", "reserve"), [(400 * MIB, LEAST_RESERVE), (10 << 30, 320 * MIB), (1 << 40, MOST_RESERVE)], ids=str
)
def test_the_reserve_fits_small_and_large_disks(size: int, reserve: int) -> None:
    assert choose_reserve(size) == reserve


def test_plain_log_is_refused_before_it_touches_the_reserve(member: Harness) -> None:
    end = beyond_the_allowance(member, RESERVE + 100)
    [answer] = member.ask(member.append(2, end, bytes(100)))
    assert isinstance(answer, m.Ack)
    member.node.measured(RESERVE, RESERVE)
    *told, refusal = member.ask(member.append(2, end + 100, b"x"))
    assert reason([refusal]) is m.Reason.FULL
    assert m.RoomLeft(Epoch(2), Lsn(end + 100)) in told
    assert not member.node.unfit


def test_the_short_way_takes_nothing_that_the_long_one_refuses(member: Harness) -> None:
    end = beyond_the_allowance(member, RESERVE + 100)
    member.ask(member.append(2, end, b"x", durable=START))
    now = member.now
    assert member.node.steady.extend(1, Epoch(2), 1, Lsn(end + 1), Lsn(START), 8, 100, now) is None  # type: ignore[arg-type]
    assert member.node.steady.extend(1, Epoch(2), 1, Lsn(end + 1), Lsn(START), 8, 99, now) is not None  # type: ignore[arg-type]


def test_a_full_member_still_hears_promises_and_begins_and_gives_each_leadership_its_allowance(member: Harness) -> None:
    end = beyond_the_allowance(member, RESERVE // 2)
    assert reason(member.ask(member.append(2, end, b"x"))[-1:]) is m.Reason.FULL
    [beat] = member.ask(member.append(2, end))
    assert isinstance(beat, m.Ack)
    member.ask(m.Resign(epoch=Epoch(2), owner="a"))
    assert member.promise(3, "b").granted
    third = (*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(end)))
    [begun] = member.ask(begin(third))
    assert begun == m.Begun(epoch=Epoch(3), flush=Lsn(end))
    answers = member.ask(member.append(3, end, bytes(ALLOWANCE)))
    assert isinstance(answers[-1], m.Ack)
    assert reason(member.ask(member.append(3, end + ALLOWANCE, b"x"))[-1:]) is m.Reason.FULL


def test_log_that_others_hold_may_use_the_reserve_but_not_the_last_of_it(member: Harness) -> None:
    end = beyond_the_allowance(member, RESERVE // 2)
    member.ask(m.Resign(epoch=Epoch(2), owner="a"))
    member.promise(3, "b")
    fits = (*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(end + RESERVE // 2 - LAST)))
    member.give(begin(fits, donor="m1"))
    assert not [a for a in sent(member.sync()) if isinstance(a, m.Refused)]
    beyond = (*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(end + RESERVE // 2 - LAST + 1)))
    assert reason(member.ask(begin(beyond, donor="m1"))) is m.Reason.FULL


def test_not_even_an_allowance_uses_the_last_of_the_reserve(member: Harness) -> None:
    end = beyond_the_allowance(member, LAST)
    member.ask(m.Resign(epoch=Epoch(2), owner="a"))
    member.promise(3, "b")
    member.ask(begin((*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(end)))))
    assert reason(member.ask(member.append(3, end, b"x"))[-1:]) is m.Reason.FULL


def test_the_owner_hears_of_room_once_and_again_when_it_moved_by_much(member: Harness) -> None:
    free = RESERVE + 160 * MIB
    for told, measured in ((1, free), (0, free), (0, free - 9 * MIB), (1, free - 11 * MIB), (1, free)):
        member.ask(member.append(2, START))
        member.node.measured(measured, RESERVE)
        assert [type(x) for x in sent(member.drain())] == [m.RoomLeft] * told, measured
    member.ask(member.append(2, START), conn=2)
    member.node.measured(free, RESERVE)
    assert len(sent(member.drain())) == 1, "another connection knows nothing yet"


def test_nobody_is_told_before_the_owner_was_heard(member: Harness) -> None:
    member.node.measured(RESERVE, RESERVE)
    assert [e for e in member.drain() if not isinstance(e, Persist)] == []


# --- the owner ------------------------------------------------------------------------------------------------------


def reigning(*upto: int) -> writers.Harness:
    """An established reign whose members in step have told their room, as bytes beyond its start."""
    harness = writers.Harness()
    harness.reign()
    for index, room in enumerate(upto):
        if index > 3:
            harness.promise(index, m.Position(history=writers.OLD, flush=Lsn(writers.END)))
            harness.hear(index, m.Begun(epoch=harness.writer.epoch, flush=Lsn(END)))
        harness.hear(index, m.RoomLeft(harness.writer.epoch, Lsn(END + room)))
    return harness


def appended(harness: writers.Harness, member: int) -> int:
    """Give the end of the log that was sent to a member."""
    mine = [e.message for e in harness.sent(m.Append) if e.member == writers.IDS[member] and e.message.data]
    return max((a.lsn + len(a.data) for a in mine), default=END)


@given(st.lists(st.integers(1, 10_000), min_size=4, max_size=6))
def test_the_room_that_counts_is_what_four_have(rooms: list[int]) -> None:
    assert reigning(*rooms).writer.horizon == END + sorted(rooms, reverse=True)[3]


def test_nothing_is_known_of_the_room_before_four_have_told() -> None:
    harness = reigning(5, 5, 5)
    assert harness.writer.horizon is None
    harness.writer.disconnected(writers.IDS[3], harness.now)
    harness.drain()
    assert harness.writer.horizon is None


def test_a_member_that_is_gone_offers_no_room() -> None:
    harness = reigning(500, 400, 300, 200, 100)
    assert harness.writer.horizon == END + 200
    harness.writer.disconnected(writers.IDS[0], harness.now)
    assert harness.writer.horizon == END + 100


def test_no_more_is_offered_than_four_can_take_and_it_goes_on_when_they_can() -> None:
    harness = reigning(300, 300, 300, 100)
    assert harness.writer.room == 100
    harness.writer.offer(Lsn(END), bytes(100), harness.now)
    harness.drain()
    assert harness.writer.room == 0
    for index in range(4):
        harness.hear(index, m.Ack(epoch=harness.writer.epoch, flush=Lsn(END + 100), beat=1))
    assert DurableAdvanced(lsn=Lsn(END + 100)) in harness.out
    harness.hear(3, m.RoomLeft(harness.writer.epoch, Lsn(END + 250)))
    assert harness.writer.room == 150


def test_a_member_is_sent_no_more_than_it_has_room_for_and_the_rest_when_it_has() -> None:
    harness = reigning(300, 300, 300, 300, 60)
    harness.writer.offer(Lsn(END), bytes(100), harness.now)
    harness.drain()
    assert [appended(harness, index) for index in range(5)] == [END + 100] * 4 + [END + 60]
    harness.hear(4, m.Ack(epoch=harness.writer.epoch, flush=Lsn(END + 60), beat=1))
    harness.tick(writers.LEASE / 4)
    assert appended(harness, 4) == END + 60
    harness.hear(4, m.RoomLeft(harness.writer.epoch, Lsn(END + 300)))
    assert appended(harness, 4) == END + 100


def test_a_member_that_refuses_for_lack_of_room_is_asked_again_and_ends_nothing() -> None:
    harness = reigning(300, 300, 300, 300, 300)
    harness.writer.offer(Lsn(END), bytes(100), harness.now)
    harness.drain()
    full = m.Refused(reason=m.Reason.FULL, promised=harness.writer.epoch, generation=1, config="", message="full")  # type: ignore[arg-type]
    harness.hear(4, full)
    before = len([e for e in harness.sent(m.Solicit) if e.member == writers.IDS[4]])
    harness.tick(1.0)
    assert len([e for e in harness.sent(m.Solicit) if e.member == writers.IDS[4]]) == before + 1
    assert not harness.writer.over


def test_a_reign_whose_room_ends_soon_is_not_lent_and_who_has_little_is_not_lent_with_it() -> None:
    assert reigning(*[HEADWAY - 1] * 4).writer.lend() is None
    given = reigning(AMPLE, AMPLE, AMPLE, AMPLE, HEADWAY - 1).writer.lend()
    assert given is not None
    assert [peer.streaming for peer in given.peers] == [True] * 4 + [False, False]
