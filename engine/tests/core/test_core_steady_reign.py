"""A reign that is lent out: when it may be, and that it comes back as if all had gone through the core."""

from dataclasses import replace

import pytest
from borealis_engine.contract.volume import Generation, Joining, Lsn, Member, MemberId
from borealis_engine.core import messages as m
from borealis_engine.core.effects import DurableAdvanced, SendTo
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.peer import Stage
from borealis_engine.core.reign import LEASE_SHARE
from borealis_engine.core.steady_reign import LentReign, PeerDeeds, ReignDeeds
from hypothesis import given
from hypothesis import strategies as st

from . import test_core_writer as writers

END = Lsn(writers.END - 10)
NEW = Member(id=MemberId("m6"), name="m6", zone="z", address="")


def lent(harness: writers.Harness) -> LentReign:
    given = harness.writer.lend()
    assert given is not None
    return given


def nothing_done(reign: LentReign) -> ReignDeeds:
    peers = {
        p.id: PeerDeeds(acked=p.acked, next=p.next, told=p.told, feeding=p.feeding, answered=0, generation=0, beats=())
        for p in reign.peers
    }
    return ReignDeeds(log=b"", durable=reign.durable, beat=reign.beat, announce_at=reign.announce_at, peers=peers)


def done(reign: LentReign, log: bytes, acked: dict[int, int], *, now: float) -> ReignDeeds:
    """Send `log` as one append to all that stream, and have members ack so much."""
    deeds, end = nothing_done(reign), Lsn(reign.end + len(log))
    beat, peers = reign.beat + 1, dict(deeds.peers)
    for at, peer in enumerate(reign.peers):
        told = peers[peer.id]._replace(next=end, told=reign.durable, beats=[(beat, now)]) if peer.streaming else None
        peers[peer.id] = told = told or peers[peer.id]
        if at in acked:
            peers[peer.id] = told._replace(acked=Lsn(acked[at]), answered=beat, generation=1)
    held = sorted((each.acked for each in peers.values()), reverse=True)[3]
    return deeds._replace(log=log, durable=max(reign.durable, held), beat=beat, peers=peers)


@pytest.fixture
def reigning() -> writers.Harness:
    """Four members stream, and have acked all."""
    harness = writers.Harness()
    harness.reign()
    return harness


def test_nothing_is_lent_before_the_reign_is_established() -> None:
    harness = writers.Harness()
    assert harness.writer.lend() is None
    harness.win()
    assert harness.writer.lend() is None


def test_nothing_is_lent_when_it_is_over(reigning: writers.Harness) -> None:
    lent(reigning)
    reigning.tick(writers.LEASE)
    assert reigning.writer.over
    assert reigning.writer.lend() is None


def test_nothing_is_lent_while_a_member_is_replaced(reigning: writers.Harness) -> None:
    joining = Joining(member=NEW, replaces=MemberId("m5"))
    reigning.writer.configure(replace(writers.CONFIG, generation=Generation(2), joining=joining))
    assert reigning.writer.lend() is None


def test_nothing_is_lent_before_what_is_to_be_done_is_done(reigning: writers.Harness) -> None:
    reigning.writer.offer(END, b"x", reigning.now)  # its appends are to be sent first
    assert reigning.writer.lend() is None
    reigning.drain()
    assert lent(reigning).end == END + 1


def test_what_is_lent_says_who_streams_and_where(reigning: writers.Harness) -> None:
    reign = lent(reigning)
    assert [p.streaming for p in reign.peers] == [True] * 4 + [False] * 2
    assert (reign.start, reign.end, reign.durable) == (END, END, END)
    assert [p.acked for p in reign.peers] == [END] * 4 + [0] * 2


def test_what_was_done_is_the_cores_own(reigning: writers.Harness) -> None:
    sent_at = reigning.now + 1
    deeds = done(lent(reigning), b"x" * 100, {0: END + 100, 1: END + 100, 2: END + 60, 3: END + 100}, now=sent_at)
    reigning.now += 2
    reigning.writer.advance(deeds, reigning.now)
    assert [e for e in reigning.drain() if isinstance(e, DurableAdvanced)] == [DurableAdvanced(lsn=Lsn(END + 60))]
    assert (reigning.writer.durable, reigning.writer.end) == (END + 60, END + 100)
    assert reigning.writer.lease_until == sent_at + LEASE_SHARE * writers.LEASE, "from when it was sent"
    reigning.ack(2, END + 100)
    assert reigning.writer.durable == END + 100


def test_a_member_that_was_left_behind_is_sent_what_it_lacks(reigning: writers.Harness) -> None:
    reign = lent(reigning)
    deeds = done(reign, b"x" * 100, {0: END + 100}, now=reigning.now)
    first = reign.peers[1].id
    peers = {**deeds.peers, first: nothing_done(reign).peers[first]}
    reigning.writer.advance(deeds._replace(peers=peers), reigning.now)
    [sent] = [e for e in reigning.drain() if isinstance(e, SendTo)]
    assert isinstance(sent.message, m.Append)
    assert (sent.member, sent.message.lsn, sent.message.data) == (first, END, b"x" * 100)


@pytest.mark.parametrize("lie", ["D", "ack", "sent", "lost"])
def test_deeds_against_the_rules_are_not_believed(reigning: writers.Harness, lie: str) -> None:
    deeds = done(lent(reigning), b"x" * 100, {0: END + 100, 1: END + 100, 2: END + 100}, now=reigning.now)
    id = writers.IDS[3]
    changed = {
        "D": deeds._replace(durable=Lsn(END + 100)),
        "ack": deeds._replace(peers={**deeds.peers, id: deeds.peers[id]._replace(acked=Lsn(END + 101), generation=1)}),
        "sent": deeds._replace(peers={**deeds.peers, id: deeds.peers[id]._replace(next=Lsn(END + 101))}),
        "lost": deeds._replace(peers={**deeds.peers, id: deeds.peers[id]._replace(acked=Lsn(END - 1), generation=1)}),
    }[lie]
    with pytest.raises(SafetyViolated):
        reigning.writer.advance(changed, reigning.now)


@given(st.lists(st.tuples(st.integers(1, 50), st.dictionaries(st.integers(0, 3), st.integers(0, 50))), max_size=6))
def test_both_ways_come_to_the_same(steps: list[tuple[int, dict[int, int]]]) -> None:
    """Pieces of some size, and how much each member has acked less than all."""
    through, by_lending = writers.Harness(), writers.Harness()
    for harness in (through, by_lending):
        harness.reign()
    acked = dict.fromkeys(range(4), int(END))
    for size, lacking in steps:
        end = through.writer.end + size
        acked |= {at: max(acked[at], end - less) for at, less in lacking.items()}
        through.writer.offer(through.writer.end, bytes(size), through.now)
        for at in lacking:
            through.ack(at, acked[at], beat=1 << 30)
        deeds = done(lent(by_lending), bytes(size), {at: acked[at] for at in lacking}, now=by_lending.now)
        by_lending.writer.advance(deeds, by_lending.now)
        by_lending.drain()
        for one, other in zip(through.writer._peers.values(), by_lending.writer._peers.values(), strict=True):
            assert (one.acked, one.next, one.stage) == (other.acked, other.next, other.stage)
            assert one.stage is not Stage.STREAMING or bool(one.beats) == bool(other.beats)
        assert through.writer.durable == by_lending.writer.durable
        assert through.writer.lease_until == by_lending.writer.lease_until
