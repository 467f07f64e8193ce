"""What a member cannot read makes it unfit, never smaller; what any member knows stops an election without it (017)."""

from dataclasses import replace

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core import messages as m
from borealis_engine.core.campaign import ROUND_S, SETTLE_S
from borealis_engine.core.effects import ImageExtent, NeedImage, Waiting
from borealis_engine.core.tail import LogEnd

from .harness import LEASE, SECOND, begin, reason
from .harness import Harness as NodeHarness
from .test_core_writer import BASE, END, NOWHERE, OLD, Harness

HOLDS = m.Position(history=OLD, flush=Lsn(END))
EARLIER = replace(HOLDS, flush=Lsn(END - 1000))
BEHIND = replace(EARLIER, durable_epoch=Epoch(2), durable=Lsn(END - 5))  # it was told a D that it does not reach


def position(node: NodeHarness, owner: str = "b") -> m.Position:
    """Give what the node says of itself in an election."""
    node.now += LEASE
    [consent] = node.ask(m.Canvass(epoch=Epoch(99), owner=owner))
    assert isinstance(consent, m.Consent)
    return consent.position


def answer(harness: Harness, index: int, position: m.Position, *, granted: bool = True) -> None:
    """Answer the candidate's last question."""
    epoch = harness.writer.epoch
    if harness.sent(m.Solicit):
        harness.hear(index, m.Promise(epoch=epoch, granted=granted, promised=epoch, position=position))
        return
    asked = canvassed(harness)
    why = None if granted else m.Reason.LEASE
    consent = m.Consent(epoch=asked, granted=granted, reason=why, promised=Epoch(2), position=position)
    harness.hear(index, consent)


def canvassed(harness: Harness) -> Epoch:
    message = harness.sent(m.Canvass)[-1].message
    assert isinstance(message, m.Canvass)
    return message.epoch


def reasons(harness: Harness) -> list[str]:
    return [effect.reason for effect in harness.out if isinstance(effect, Waiting)]


# --- a member ---------------------------------------------------------------------------------------------------------


def test_a_member_without_a_readable_image_claims_what_its_journal_holds(member: NodeHarness) -> None:
    durable = member.node.durable
    node = NodeHarness(durable, images={})
    claimed = position(node)
    assert (claimed.history, claimed.flush, claimed.image_here) == (SECOND, 1100, False)
    assert position(NodeHarness(durable)).image_here


def test_a_member_claims_nothing_before_all_log_of_its_image_is_here() -> None:
    node = NodeHarness()
    node.promise(2)
    node.give(begin(SECOND))
    node.sync()
    assert node.node.durable.history == SECOND
    for images in ({"img": ImageExtent(start=Lsn(1000), end=Lsn(1100))}, {}):
        assert position(NodeHarness(node.node.durable, images=images)).history == ()


def test_a_blob_found_damaged_is_given_to_nobody_and_the_log_stays(member: NodeHarness) -> None:
    member.node.image_lost("img")
    assert reason(member.ask(m.GetImage(image="img"))) is m.Reason.UNKNOWN
    assert position(member).history == SECOND
    member.node.image_arrived("img", ImageExtent(start=Lsn(1000), end=Lsn(1100)), member.now)
    assert position(member).image_here


def test_a_d_that_was_told_is_known_after_a_restart_also_above_the_own_log(member: NodeHarness) -> None:
    member.ask(member.append(2, 1100, b"x" * 20, durable=1150))
    assert position(member).known == (2, 1150)
    member.now += 2
    member.node.tick(member.now)
    member.drain()
    member.sync()
    member.boot(member.node.durable)
    assert position(member).known == (2, 1150)
    assert member.node.readable == 1120
    member.promise(3, "b")
    member.ask(begin((*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(1120)))))
    member.ask(member.append(3, 1120, b"y" * 50))
    member.boot(member.node.durable)
    assert member.node.readable == 1120, "bytes of a newer reign are not durable by an older D"


def test_a_member_that_knows_a_d_takes_no_other_image(member: NodeHarness) -> None:
    member.ask(member.append(2, 1100, b"x", durable=1101))
    member.now += LEASE
    member.promise(3, "b")
    other = (m.Reign(epoch=Epoch(1), start=Lsn(1000), image="other"), m.Reign(epoch=Epoch(3), start=Lsn(1100)))
    assert reason(member.ask(begin(other))) is m.Reason.UNKNOWN
    assert (member.node.durable.history, member.node.durable.flush) == (SECOND, 1101)
    assert "acknowledged here up to 1101" in member.node.objection


# --- a candidate ------------------------------------------------------------------------------------------------------


def test_nobody_is_asked_for_a_promise_while_a_d_is_known_that_no_log_reaches() -> None:
    harness = Harness()
    for index, said in enumerate((EARLIER, EARLIER, EARLIER, BEHIND)):
        answer(harness, index, said)
    assert not harness.sent(m.Solicit)
    harness.tick(ROUND_S)
    [why] = reasons(harness)
    assert "m3 knows D 0/" in why
    assert "acknowledged commits are missing" in why
    assert not harness.sent(m.Solicit), "no epoch is burnt"


def test_a_fifth_answer_may_bring_what_is_missing() -> None:
    harness = Harness()
    for index, said in enumerate((EARLIER, EARLIER, EARLIER, BEHIND, HOLDS)):
        answer(harness, index, said)
    assert harness.sent(m.Solicit)
    for index, said in enumerate((EARLIER, EARLIER, EARLIER, BEHIND)):
        answer(harness, index, said)
    assert not harness.sent(m.Read), "four promises do not elect without it"
    answer(harness, 4, HOLDS)
    [read] = harness.sent(m.Read)
    assert read.member == "m4"


def test_a_round_of_promises_that_ends_in_doubt_elects_nobody() -> None:
    harness = Harness()
    for index in range(4):
        answer(harness, index, EARLIER)
    for index, said in enumerate((EARLIER, EARLIER, EARLIER, BEHIND)):
        answer(harness, index, said)
    harness.tick(ROUND_S)
    assert "acknowledged commits are missing" in reasons(harness)[-1]
    resigned = [sent.message for sent in harness.sent(m.Resign)]
    assert all(isinstance(message, m.Resign) and message.void for message in resigned)


def test_a_d_of_a_member_whose_consent_is_refused_counts_too() -> None:
    harness = Harness()
    answer(harness, 5, BEHIND, granted=False)
    for index in range(4):
        answer(harness, index, EARLIER)
    assert not harness.sent(m.Solicit)


def test_a_newer_reign_may_end_below_an_older_d() -> None:
    """D lay inside a record that recovery cut off."""
    newer = m.Position(history=(*OLD, m.Reign(epoch=Epoch(5), start=Lsn(END - 10))), flush=Lsn(END - 10))
    harness = Harness()
    for _ in range(2):
        for index, said in enumerate((newer, newer, EARLIER, BEHIND)):
            answer(harness, index, said)
    assert harness.sent(m.Begin)


def test_a_late_promise_that_knows_more_ends_the_recovery() -> None:
    harness = Harness()
    for _ in range(2):
        for index in range(4):
            answer(harness, index, EARLIER)
    answer(harness, 4, BEHIND)
    assert "knows a D that the log found does not reach" in reasons(harness)[-1]
    assert harness.sent(m.Resign)


def test_without_any_readable_image_the_volume_refuses_and_no_new_one_is_made() -> None:
    harness = Harness()
    blind = replace(HOLDS, image_here=False)
    for index in range(4):
        answer(harness, index, blind)
    harness.tick(ROUND_S)
    [why] = reasons(harness)
    assert "can read image img" in why
    assert not harness.sent(m.Solicit)
    assert not [effect for effect in harness.out if isinstance(effect, NeedImage)]


def test_one_readable_image_is_enough() -> None:
    harness = Harness(ends=[LogEnd(end=Lsn(END - 10))])
    for _ in range(2):
        for index in range(4):
            answer(harness, index, replace(HOLDS, image_here=index == 3))
    assert harness.sent(m.Read)


# --- a new volume -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(HOLDS, id="a history"),
        pytest.param(replace(NOWHERE, durable_epoch=Epoch(2), durable=Lsn(BASE + 200)), id="a D"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_no_volume_is_made_while_an_answer_shows_one(shown: m.Position, *, first: bool) -> None:
    harness = Harness()
    asked = canvassed(harness)
    lease = m.Consent(epoch=asked, granted=False, reason=m.Reason.LEASE, promised=Epoch(2), position=shown)
    if first:
        harness.hear(5, lease)
    for index in range(4):
        answer(harness, index, NOWHERE)
    if not first:
        for index in range(4):
            answer(harness, index, NOWHERE)
        answer(harness, 5, shown, granted=False)
    harness.tick(ROUND_S)
    assert reasons(harness)
    assert not [effect for effect in harness.out if isinstance(effect, NeedImage)]


def test_a_volume_is_made_at_once_if_nobody_ever_promised_anything() -> None:
    harness = Harness()
    for index in range(4):
        harness.consent(index)
    for index in range(4):
        harness.promise(index, NOWHERE)
    assert NeedImage(epoch=Epoch(2)) in harness.out


def test_after_a_promise_all_members_are_asked_before_a_volume_is_made() -> None:
    harness = Harness()
    harness.win()
    assert not [effect for effect in harness.out if isinstance(effect, NeedImage)]
    for index in (4, 5):
        harness.promise(index, NOWHERE)
    assert NeedImage(epoch=Epoch(3)) in harness.out


def test_who_does_not_answer_stops_no_creation() -> None:
    harness = Harness()
    harness.win()
    harness.tick(SETTLE_S)
    assert NeedImage(epoch=Epoch(3)) in harness.out
