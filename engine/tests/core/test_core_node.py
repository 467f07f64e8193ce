"""The storage node's rules one by one, each with the shortest exchange that shows it."""

from dataclasses import replace

import pytest
from borealis_engine.contract.volume import Epoch, Lsn, MemberId, VolumeConfig
from borealis_engine.core import messages as m
from borealis_engine.core.effects import (
    Conn,
    ImageExtent,
    LoadImage,
    OutOfService,
    Persist,
    Pull,
    PullImage,
    ServeFeed,
    ServeLog,
    Truncated,
)
from borealis_engine.core.journal import Logged

from .harness import CONFIG, LEASE, PREFIX, SECOND, Harness, begin, reason, sent


def test_a_promise_is_answered_when_it_is_durable() -> None:
    harness = Harness()
    assert sent(harness.give(m.Solicit(epoch=Epoch(2), owner="a"))) == []
    [answer] = sent(harness.sync())
    assert isinstance(answer, m.Promise)
    assert answer.granted
    assert harness.node.durable.promised == 2


def test_a_question_repeated_while_the_promise_is_synced_is_answered_too() -> None:
    harness = Harness()
    harness.give(m.Solicit(epoch=Epoch(2), owner="a"))
    harness.give(m.Solicit(epoch=Epoch(2), owner="a"), conn=2)
    assert [type(a) for a in sent(harness.sync())] == [m.Promise, m.Promise]


def test_an_epoch_is_promised_to_one() -> None:
    harness = Harness()
    assert harness.promise(2, "a").granted
    assert not harness.promise(2, "b").granted
    assert harness.promise(2, "a").granted


def test_the_lease_keeps_others_out_until_it_ends_or_is_given_up(member: Harness) -> None:
    canvass = m.Canvass(epoch=Epoch(3), owner="b")
    [consent] = member.ask(canvass)
    assert isinstance(consent, m.Consent)
    assert consent.reason is m.Reason.LEASE
    assert not member.promise(3, "b").granted
    member.ask(m.Resign(epoch=Epoch(2), owner="someone else"))
    assert not member.promise(3, "b").granted, "a rival cannot end a lease"
    member.ask(m.Resign(epoch=Epoch(2), owner="a"))
    assert member.promise(3, "b").granted
    member.now += LEASE
    assert member.promise(4, "c").granted


def test_a_restarted_node_respects_the_lease_of_an_owner_it_knows(member: Harness) -> None:
    member.boot(member.node.durable)
    assert not member.promise(3, "b").granted
    member.ask(m.Resign(epoch=Epoch(2), owner="a"))
    member.boot(member.node.durable)
    assert member.promise(3, "b").granted


def test_a_void_promise_is_taken_back(member: Harness) -> None:
    member.now += LEASE
    assert member.promise(3, "b").granted
    member.ask(m.Resign(epoch=Epoch(3), owner="b", void=True))
    assert (member.node.durable.promised, member.node.durable.owner) == (2, "a")
    assert member.ask(member.append(2, 1100, b"xy")) == [m.Ack(epoch=Epoch(2), flush=Lsn(1102), beat=7)]


def test_a_promise_that_was_begun_is_not_taken_back(member: Harness) -> None:
    member.now += LEASE
    assert member.promise(3, "b").granted
    member.ask(begin((PREFIX, m.Reign(epoch=Epoch(3), start=Lsn(1100)))))
    member.ask(m.Resign(epoch=Epoch(3), owner="b"))
    assert reason(member.ask(member.append(2, 1100, b"xy"))) is m.Reason.EPOCH


def test_an_ack_comes_after_the_sync_and_covers_only_what_was_synced(member: Harness) -> None:
    assert sent(member.give(member.append(2, 1100, b"abc"))) == []
    member.give(member.append(2, 1103, b"de"))  # goes with the next sync
    assert member.persist is not None
    token, member.persist = member.persist.token, None
    member.node.persisted(token)
    assert sent(member.drain()) == [m.Ack(epoch=Epoch(2), flush=Lsn(1103), beat=7)]
    assert sent(member.sync()) == [m.Ack(epoch=Epoch(2), flush=Lsn(1105), beat=7)]


@pytest.mark.parametrize(
    ("epoch", "lsn", "stream", "expected"),
    [
        pytest.param(2, 1101, 5, m.Reason.GAP, id="gap"),
        pytest.param(2, 1099, 5, m.Reason.STALE, id="below the end"),
        pytest.param(2, 1100, 4, m.Reason.STALE, id="older connection"),
        pytest.param(1, 1100, 5, m.Reason.EPOCH, id="lower epoch"),
        pytest.param(3, 1100, 5, m.Reason.GAP, id="never promised"),
    ],
)
def test_appends_that_do_not_fit_are_refused(
    member: Harness, epoch: int, lsn: int, stream: int, expected: m.Reason
) -> None:
    member.ask(member.append(2, 1100, stream=5))
    assert reason(member.ask(member.append(epoch, lsn, b"x", stream=stream))) is expected
    assert member.node.durable.flush == 1100


def test_a_heartbeat_is_answered_without_the_entry_but_claims_nothing() -> None:
    harness = Harness()
    harness.promise(2)
    assert harness.ask(harness.append(2, 5000, durable=4000)) == [m.Ack(epoch=Epoch(2), flush=Lsn(0), beat=7)]
    assert harness.node.readable == 0
    assert reason(harness.ask(harness.append(2, 0, b"x"))) is m.Reason.GAP


def test_an_older_d_says_nothing_of_a_newer_reign(member: Harness) -> None:
    """D 1150 lay inside a record; epoch 3 goes on at 1120, and its bytes there are not durable."""
    member.ask(member.append(2, 1100, b"x" * 20, durable=1150))
    member.ask(member.append(2, 1120, durable=1150))
    assert member.node.readable == 1120
    member.now += LEASE
    member.promise(3, "b")
    third = (*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(1120)))
    assert member.ask(begin(third)) == [m.Begun(epoch=Epoch(3), flush=Lsn(1120))]
    member.ask(member.append(3, 1120, b"y" * 40))
    assert member.node.durable.flush == 1160
    assert member.node.readable == 1120
    assert member.node.feed_history == SECOND
    member.ask(member.append(3, 1160, durable=1140))
    assert (member.node.readable, member.node.feed_history) == (1140, third)


def test_truncation_and_entry_are_one_and_survive_a_crash_as_one(member: Harness) -> None:
    member.ask(member.append(2, 1100, b"x" * 50, durable=1110))
    member.now += LEASE
    assert member.promise(3, "b").position.flush == 1150
    third = (*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(1120)))
    effects = member.give(begin(third))
    assert Truncated(end=Lsn(1120)) in effects
    assert sent(effects) == []
    assert not member.node.serves(Epoch(2)), "a donor that is about to change"
    assert sent(member.sync()) == [m.Begun(epoch=Epoch(3), flush=Lsn(1120))]
    member.boot(member.node.durable)
    assert member.node.position == m.Position(history=third, flush=Lsn(1120))


def test_a_node_that_is_behind_pulls_and_pads_and_pulls_on(member: Harness) -> None:
    member.now += LEASE
    member.promise(3, "b")
    third = (*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(1200)))
    [pull] = [e for e in member.give(begin(third, donor="m4", zeros=40, upto=1230)) if isinstance(e, Pull)]
    assert (pull.donor, pull.epoch, pull.start, pull.upto) == ("m4", 3, 1100, 1160)
    member.node.pulled(pull.token, Lsn(1100), b"p" * 30, member.now)
    member.node.pull_failed(pull.token, member.now)
    member.drain()
    member.now += 1
    member.node.tick(member.now)
    [again] = [e for e in member.drain() if isinstance(e, Pull)]
    assert (again.start, again.upto) == (1130, 1160)
    member.node.pulled(pull.token, Lsn(1130), b"late", member.now)  # of the first pull: ignored
    member.node.pulled(again.token, Lsn(1120), b"p" * 60, member.now)  # more than asked for, on both sides
    [last] = [e for e in member.drain() + member.sync() if isinstance(e, Pull)]
    assert (last.start, last.upto) == (1200, 1230)
    assert member.node.catching_up
    member.node.pulled(last.token, Lsn(1200), b"q" * 30, member.now)
    assert sent(member.drain() + member.sync()) == [m.Begun(epoch=Epoch(3), flush=Lsn(1230))]
    assert member.node.catching_up, "nothing of the reign has been heard since"
    member.ask(member.append(3, 1230, durable=1230))
    assert not member.node.catching_up


def test_a_begin_of_an_older_connection_does_not_take_the_place_of_the_newer_one(member: Harness) -> None:
    """Its answer would go to a connection that is gone, and the writer would wait for ever (seed 2243)."""
    member.now += LEASE
    member.promise(3, "b")
    third = (*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(1160)))
    [pull] = [e for e in member.give(begin(third, donor="m4", stream=2)) if isinstance(e, Pull)]
    assert reason(member.ask(begin(third, donor="m5", stream=1))) is m.Reason.STALE
    member.node.pulled(pull.token, Lsn(1100), b"p" * 60, member.now)
    assert sent(member.drain() + member.sync()) == [m.Begun(epoch=Epoch(3), flush=Lsn(1160))]


def test_a_half_loaded_image_claims_nothing() -> None:
    harness = Harness()
    harness.promise(2)
    [load] = [e for e in harness.give(begin(SECOND)) if isinstance(e, LoadImage)]
    harness.node.pulled(load.token, Lsn(1000), bytes(60), harness.now)
    harness.drain()
    harness.sync()
    assert harness.node.durable.flush == 1060
    harness.boot(harness.node.durable)
    assert harness.node.position == m.Position(history=(), flush=Lsn(0))


def test_the_loser_of_a_creation_throws_its_log_away(member: Harness) -> None:
    member.now += LEASE
    member.promise(3, "b")
    other = (m.Reign(epoch=Epoch(1), start=Lsn(1000), image="other"), m.Reign(epoch=Epoch(3), start=Lsn(1080)))
    [fetch] = [e for e in member.give(begin(other, donor="m2")) if isinstance(e, PullImage)]
    assert fetch == PullImage(image="other", donor=MemberId("m2"))
    extent = ImageExtent(start=Lsn(1000), end=Lsn(1080))
    member.node.image_arrived("other", extent, member.now)
    [load] = [e for e in member.drain() if isinstance(e, LoadImage)]
    assert (load.image, load.start, load.upto) == ("other", 1000, 1080)
    member.node.pulled(load.token, Lsn(1000), bytes(80), member.now)
    assert sent(member.drain() + member.sync()) == [m.Begun(epoch=Epoch(3), flush=Lsn(1080))]


def test_readers_get_nothing_above_d_and_donors_only_their_epoch(member: Harness) -> None:
    member.ask(member.append(2, 1100, b"x" * 50))
    member.ask(member.append(2, 1150, durable=1130))
    read = m.Read(epoch=Epoch(0), start=Lsn(1000), upto=Lsn(2000))
    assert ServeLog(conn=Conn(1), epoch=Epoch(0), start=Lsn(1000), upto=Lsn(1130)) in member.give(read)
    bound = replace(read, epoch=Epoch(2))
    assert ServeLog(conn=Conn(1), epoch=Epoch(2), start=Lsn(1000), upto=Lsn(1150)) in member.give(bound)
    assert reason(member.ask(replace(read, epoch=Epoch(3)))) is m.Reason.UNKNOWN
    assert ServeFeed(conn=Conn(1), start=Lsn(1130)) in member.give(m.Subscribe(start=Lsn(1130)))


@pytest.mark.parametrize(("generation", "to"), [(2, "m0"), (4, "m0"), (3, "m1"), (3, "")])
def test_another_generation_or_identity_is_refused_with_the_configuration(generation: int, to: str) -> None:
    harness = Harness()
    [answer] = sent(harness.give(m.Canvass(epoch=Epoch(2), owner="a"), generation=generation, to=to))
    assert isinstance(answer, m.Refused)
    assert answer.reason is m.Reason.CONFIG
    assert VolumeConfig.from_json(answer.config) == CONFIG


def test_after_a_failed_disk_nothing_is_acked(member: Harness) -> None:
    member.give(member.append(2, 1100, b"abc"))
    member.node.failed("I/O error")
    assert [type(e) for e in member.drain()] == [OutOfService]
    member.node.persisted(99)
    assert member.drain() == []
    assert reason(sent(member.give(member.append(2, 1103, b"d")))) is m.Reason.UNFIT


def test_d_is_recorded_when_idle_and_with_the_next_sync(member: Harness) -> None:
    member.ask(member.append(2, 1100, b"x" * 50))
    member.ask(member.append(2, 1150, durable=1150))
    due = member.node.next_deadline()
    assert due is not None
    member.node.tick(due)
    member.drain()
    member.sync()
    assert member.node.durable.committed == 1150
    assert member.node.next_deadline() is None


def test_backlog_counts_bytes_that_wait_for_the_disk(member: Harness) -> None:
    member.give(member.append(2, 1100, b"abc"))
    member.give(member.append(2, 1103, b"de"))
    assert member.node.backlog == 5
    assert isinstance(member.persist, Persist)
    assert [r for r in member.persist.records if isinstance(r, Logged)] == [Logged(lsn=Lsn(1100), data=b"abc")]
    member.sync()
    assert member.node.backlog == 0
