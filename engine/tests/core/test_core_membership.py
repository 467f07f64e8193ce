"""Replacing a member, rule by rule: the configuration, its quorums, the writer over two generations, the node."""

from dataclasses import replace

import pytest
from borealis_engine.contract.volume import Epoch, Generation, Joining, Lsn, Member, MemberId, VolumeConfig
from borealis_engine.core import messages as m
from borealis_engine.core.effects import Adopt, Conn, DurableAdvanced, LeaseLost, OutOfService, SendTo
from borealis_engine.core.journal import EMPTY
from borealis_engine.core.node import Node
from borealis_engine.core.quorum import blocks, elects, sixes, voters
from borealis_engine.core.sourcing import LANES, Sourcing, donors
from hypothesis import given
from hypothesis import strategies as st

from . import harness as nodes
from . import test_core_writer as writers

NEW = Member(id=MemberId("m6"), name="m6", zone="z", address="")
CONFIG = writers.CONFIG
JOINT = replace(CONFIG, generation=Generation(2), joining=Joining(member=NEW, replaces=MemberId("m5")))
FINAL = replace(CONFIG, generation=Generation(3), members=(*CONFIG.members[:5], NEW))
GIVEN_UP = replace(CONFIG, generation=Generation(3))
ALL = [MemberId(f"m{i}") for i in range(7)]
END = writers.END - 10


# --- configuration and quorums ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CONFIG, JOINT, FINAL], ids=["six", "joint", "new six"])
def test_a_configuration_survives_its_json(config: VolumeConfig) -> None:
    assert VolumeConfig.from_json(config.to_json()) == config
    assert ('"joining"' in config.to_json()) is (config.joining is not None)


@given(st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from(ALL)))
def test_what_two_neighbouring_generations_decide_meets(one: set[MemberId], other: set[MemberId]) -> None:
    for before, after in ((CONFIG, JOINT), (JOINT, FINAL), (CONFIG, FINAL), (JOINT, GIVEN_UP), (JOINT, JOINT)):
        if elects(sixes(before), one) and elects(sixes(after), other):
            assert one & other - {NEW.id}, (before.generation, after.generation)  # in one that was there all along


@given(st.sets(st.sampled_from(ALL)))
def test_a_joint_quorum_is_four_of_each_six(agreed: set[MemberId]) -> None:
    old, new = agreed - {NEW.id}, agreed - {MemberId("m5")}
    assert elects(sixes(JOINT), agreed) is (len(old) >= 4 and len(new) >= 4)
    refused = set(ALL) - agreed
    assert blocks(sixes(JOINT), refused) is not elects(sixes(JOINT), agreed)


def test_a_joiner_votes_when_it_holds_the_newest_entry_that_the_others_know() -> None:
    older, newest = (m.Position(history=history, flush=Lsn(END)) for history in (writers.OLD[:1], writers.OLD))
    four = {member: newest for member in ALL[:4]}
    for position, votes in ((writers.NOWHERE, False), (older, False), (newest, True)):
        assert (NEW.id in voters({**four, NEW.id: position}, NEW.id)) is votes
        assert NEW.id in voters({**four, NEW.id: position}, None)
    assert not voters({NEW.id: writers.NOWHERE}, NEW.id)


# --- the writer -------------------------------------------------------------------------------------------------------


class Harness(writers.Harness):
    """A reigning writer, whose members may be seven."""

    def hear_as(self, index: int, message: m.Message, generation: int) -> list[object]:
        envelope = m.Envelope(Generation(generation), ALL[index], "", message)
        self.writer.receive(ALL[index], envelope, self.now)
        return list(self.drain())

    def acked(self, index: int, flush: int, generation: int) -> list[object]:
        return self.hear_as(index, m.Ack(self.writer.epoch, Lsn(flush), 0, True), generation)

    def configure(self, config: VolumeConfig) -> None:
        self.writer.configure(config)
        self.drain()

    def begins(self) -> list[MemberId]:
        return [sent.member for sent in self.sent(m.Begin)]


@pytest.fixture
def reigning() -> Harness:
    """Four members stream, and have acked all."""
    harness = Harness()
    harness.reign()
    return harness


def joined(harness: Harness) -> None:
    """The joint configuration is in force, and the joiner holds the entry."""
    harness.configure(JOINT)
    for index in range(4):
        harness.acked(index, END, 2)
    harness.writer.connected(NEW.id, harness.now)
    position = m.Position(history=(), flush=Lsn(0))
    epoch = harness.writer.epoch
    promise = m.Promise(epoch=epoch, granted=True, promised=epoch, position=position)
    harness.hear_as(6, promise, 2)
    harness.tick(0.1)
    harness.hear_as(6, m.Begun(epoch=epoch, flush=Lsn(END)), 2)


def test_the_members_are_told_of_a_new_generation_and_no_election_follows(reigning: Harness) -> None:
    reigning.configure(JOINT)
    told = [e for e in reigning.out if isinstance(e, SendTo) and isinstance(e.message, m.Refused)]
    assert [e.member for e in told] == ALL[:6]
    assert VolumeConfig.from_json(told[0].message.config) == JOINT  # type: ignore[union-attr]
    assert reigning.writer.epoch == 3
    assert not reigning.writer.over


def test_a_member_that_knows_an_older_generation_is_told(reigning: Harness) -> None:
    reigning.configure(JOINT)
    refused = m.Refused(
        reason=m.Reason.CONFIG, promised=Epoch(3), generation=Generation(1), config=CONFIG.to_json(), message=""
    )
    [*_, answer] = [e for e in reigning.hear_as(0, refused, 1) if isinstance(e, SendTo)]
    assert isinstance(answer.message, m.Refused)
    assert VolumeConfig.from_json(answer.message.config) == JOINT


def test_d_needs_four_of_each_six_while_joint(reigning: Harness) -> None:
    joined(reigning)
    reigning.writer.offer(Lsn(END), b"abc", reigning.now)
    for index in (0, 1, 2):
        reigning.acked(index, END + 3, 2)
    assert DurableAdvanced(Lsn(END + 3)) not in reigning.acked(6, END + 3, 2)  # four of the new, three of the old
    assert DurableAdvanced(Lsn(END + 3)) in reigning.acked(3, END + 3, 2)


def test_d_is_not_on_the_one_that_goes_and_three_others(reigning: Harness) -> None:
    reigning.hear(5, m.Begun(epoch=reigning.writer.epoch, flush=Lsn(END)))
    joined(reigning)
    reigning.writer.offer(Lsn(END), b"abc", reigning.now)
    for index in (0, 1, 2, 5):
        assert DurableAdvanced(Lsn(END + 3)) not in reigning.acked(index, END + 3, 2)
    assert DurableAdvanced(Lsn(END + 3)) in reigning.acked(6, END + 3, 2)


def test_d_is_counted_anew_when_the_new_six_are_alone(reigning: Harness) -> None:
    joined(reigning)
    reigning.writer.offer(Lsn(END), b"abc", reigning.now)
    for index in (0, 1, 2, 6):
        reigning.acked(index, END + 3, 2)
    reigning.writer.configure(FINAL)
    assert DurableAdvanced(Lsn(END + 3)) in reigning.drain()
    reigning.writer.connected(MemberId("m5"), reigning.now)  # whoever is gone is a stranger
    assert not reigning.drain()


def test_d_never_recedes_when_the_joiner_is_given_up(reigning: Harness) -> None:
    joined(reigning)
    reigning.writer.offer(Lsn(END), b"abc", reigning.now)
    for index in (0, 1, 2, 3, 6):
        reigning.acked(index, END + 3, 2)
    reigning.configure(GIVEN_UP)
    assert reigning.writer.durable == END + 3


def test_a_joiner_begins_once_four_of_the_old_six_have_acked_under_the_joint_generation(reigning: Harness) -> None:
    reigning.configure(JOINT)
    reigning.writer.connected(NEW.id, reigning.now)
    epoch = reigning.writer.epoch
    position = m.Position(history=(), flush=Lsn(0))
    reigning.hear_as(6, m.Promise(epoch=epoch, granted=True, promised=epoch, position=position), 2)
    for index, generation in ((0, 2), (1, 2), (2, 2), (3, 1)):
        reigning.acked(index, END, generation)
    reigning.tick(0.1)
    assert NEW.id not in reigning.begins()
    reigning.acked(3, END, 2)
    reigning.tick(0.1)
    assert NEW.id in reigning.begins()


def test_a_joiner_holds_no_lease_before_it_holds_the_entry(reigning: Harness) -> None:
    reigning.configure(JOINT)
    before = reigning.writer.lease_until
    reigning.writer.connected(NEW.id, reigning.now)
    reigning.tick(0.5)
    peers = reigning.writer._peers
    for member in (*ALL[:3], NEW.id):
        peers[member].heard = reigning.now
    peers[ALL[3]].heard = peers[MemberId("m4")].heard = float("-inf")
    peers[MemberId("m5")].heard = reigning.now
    assert reigning.writer.lease_until == before
    peers[NEW.id].acked = Lsn(END)
    assert reigning.writer.lease_until > before


def test_the_lease_outlives_a_change_of_the_configuration(reigning: Harness) -> None:
    before = reigning.writer.lease_until
    peers = reigning.writer._peers
    peers[ALL[3]].heard, peers[MemberId("m5")].heard = float("-inf"), reigning.now  # three of those who stay
    reigning.configure(JOINT)
    assert reigning.writer.lease_until == before
    effects = reigning.tick(before - reigning.now - 0.01)
    assert not [e for e in effects if isinstance(e, LeaseLost)]
    assert [e for e in reigning.tick(0.02) if isinstance(e, LeaseLost)]


# --- the node ---------------------------------------------------------------------------------------------------------


def test_a_newer_configuration_that_a_writer_tells_is_to_be_adopted() -> None:
    harness = nodes.Harness()
    newer = replace(nodes.CONFIG, generation=Generation(4))
    told = m.Refused(reason=m.Reason.CONFIG, promised=Epoch(0), generation=Generation(4), config="", message="")
    assert harness.give(replace(told, config=newer.to_json()), generation=4) == [Adopt(config=newer)]
    for text in (nodes.CONFIG.to_json(), replace(newer, cluster_uid="other").to_json(), "nonsense"):
        assert harness.give(replace(told, config=text), generation=4) == []


def test_a_node_that_the_configuration_does_not_name_takes_part_in_nothing(member: nodes.Harness) -> None:
    others = tuple(Member(id=MemberId(f"x{i}"), name="x", zone="z") for i in range(6))
    after = replace(nodes.CONFIG, generation=Generation(4), members=others)
    member.give(member.append(2, 1100, b"abc"))
    member.node.configure(after)
    assert [type(e) for e in member.drain()] == [OutOfService]
    assert member.node.retired
    member.node.persisted(99)
    assert member.drain() == []
    answers = nodes.sent(member.give(m.Solicit(epoch=Epoch(9), owner="b"), generation=4))
    assert nodes.reason(answers) is m.Reason.UNFIT
    [told] = nodes.sent(member.give(m.Solicit(epoch=Epoch(9), owner="b"), generation=3))
    assert isinstance(told, m.Refused)
    assert VolumeConfig.from_json(told.config) == after
    again = Node(
        member=MemberId("m0"), config=after, durable=EMPTY, images={}, lease=1.0, now=0.0
    )  # and after a restart
    assert again.unfit


def test_a_joiner_made_a_member_before_it_holds_the_log_is_out_of_service() -> None:
    def node() -> Node:
        return Node(member=NEW.id, config=JOINT, durable=EMPTY, images={}, lease=1.0, now=0.0)

    early = node()
    early.configure(FINAL)
    assert "before it had caught up" in early.unfit
    given_up = node()
    given_up.configure(GIVEN_UP)
    assert given_up.retired
    assert given_up.unfit


def test_acks_of_the_short_way_end_with_the_generation(member: nodes.Harness) -> None:
    member.ask(member.append(2, 1100, b"abc", durable=1100))
    member.node.configure(replace(nodes.CONFIG, generation=Generation(4)))
    assert member.node.steady.extend(Conn(1), Epoch(2), 1, Lsn(1103), Lsn(1100), 8, 1, member.now) is None


# --- pulling from several ---------------------------------------------------------------------------------------------


def test_donors_are_the_one_who_surely_holds_it_and_the_others_but_never_who_is_joining() -> None:
    assert donors(JOINT, ALL[2], ALL[0]) == ("m0", "m3", "m4", "m5", "m1")
    assert donors(JOINT, NEW.id, ALL[1]) == ("m1", "m0", "m2", "m3", "m4", "m5")


@given(st.data())
def test_what_is_pulled_from_several_comes_out_whole_and_in_order(data: st.DataObject) -> None:
    size, ahead = data.draw(st.integers(1, 60)), 16
    log = bytes(range(size))
    sourcing = Sourcing(start=Lsn(100), upto=Lsn(100 + size), donors=ALL[:4], piece=4, ahead=ahead)
    out = b""
    open_: dict[MemberId, tuple[int, int]] = {}
    while not sourcing.done:
        for ask in sourcing.asks():
            assert ask.donor not in open_
            open_[ask.donor] = (ask.start, ask.upto)
        assert 0 < len(open_) <= LANES
        assert max(upto for _, upto in open_.values()) <= sourcing.at + ahead
        donor = data.draw(st.sampled_from(sorted(open_)))
        start, upto = open_[donor]
        if donor != ALL[0] and data.draw(st.booleans()):  # it fails, or holds less
            sourcing.ended(donor, failed=data.draw(st.booleans()))
            del open_[donor]
            continue
        at, piece = sourcing.at, data.draw(st.integers(1, upto - start))
        ready = sourcing.arrived(donor, Lsn(start), log[start - 100 : start - 100 + piece])
        assert sourcing.at == at + len(ready)
        out += ready
        open_[donor] = (start + piece, upto)
        if start + piece == upto:
            sourcing.ended(donor)
            del open_[donor]
    assert out == log


def test_a_pull_is_hopeless_once_nobody_is_left() -> None:
    sourcing = Sourcing(start=Lsn(0), upto=Lsn(10), donors=ALL[:2], piece=4, ahead=16)
    for ask in sourcing.asks():
        assert not sourcing.hopeless
        sourcing.ended(ask.donor, failed=True)
    assert sourcing.hopeless
