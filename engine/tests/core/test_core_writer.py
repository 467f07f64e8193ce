"""The writer's rules one by one: rounds, recovery, D, windows, lease. Members are played by the test."""

from dataclasses import dataclass, field

import pytest
from borealis_engine.contract.volume import Epoch, Generation, Lsn, Member, MemberId, VolumeConfig
from borealis_engine.core import messages as m
from borealis_engine.core.effects import (
    ConfigLearned,
    DurableAdvanced,
    Elected,
    Fenced,
    ImageExtent,
    LeaseLost,
    NeedImage,
    Reconnect,
    SendTo,
    Waiting,
    WriterEffect,
)
from borealis_engine.core.errors import Misuse
from borealis_engine.core.reign import ANNOUNCE_S
from borealis_engine.core.tail import ALIGN, LogEnd
from borealis_engine.core.window import Window
from borealis_engine.core.writer import Writer
from hypothesis import given
from hypothesis import strategies as st

IDS = tuple(MemberId(f"m{i}") for i in range(6))
CONFIG = VolumeConfig(
    cluster_uid="u",
    generation=Generation(1),
    revision=1,
    sealed=True,
    members=tuple(Member(id=i, name=i, zone="z", address="") for i in IDS),
)
LEASE = 4.0
BASE = 4 * ALIGN
PREFIX = m.Reign(epoch=Epoch(1), start=Lsn(BASE), image="img")
OLD = (PREFIX, m.Reign(epoch=Epoch(2), start=Lsn(BASE + 100)))
END = BASE + 3 * ALIGN  # R of the best log
NOWHERE = m.Position(history=(), flush=Lsn(0))


@dataclass
class Harness:
    """A writer whose members answer what the test says."""

    ends: list[LogEnd | None] = field(default_factory=lambda: [LogEnd(end=Lsn(END - 10))])
    now: float = 100.0
    out: list[WriterEffect] = field(default_factory=list)
    scanned: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = Writer(config=CONFIG, owner="me", lease=LEASE, scan=self.scan, now=self.now, window=1000)
        for member in IDS:
            self.writer.connected(member, self.now)
        self.tick()

    def scan(self, start: Lsn, tail: bytes) -> LogEnd | None:
        self.scanned.append((start, start + len(tail)))
        return self.ends.pop(0)

    def drain(self) -> list[WriterEffect]:
        new = self.writer.effects()
        self.out += new
        return new

    def tick(self, seconds: float = 0.0) -> list[WriterEffect]:
        self.now += seconds
        self.writer.tick(self.now)
        return self.drain()

    def hear(self, index: int, message: m.Message, *, sender: str = "") -> list[WriterEffect]:
        envelope = m.Envelope(generation=Generation(1), sender=sender or IDS[index], recipient="", message=message)
        self.writer.receive(IDS[index], envelope, self.now)
        return self.drain()

    def consent(self, index: int, *, granted: bool = True, promised: int = 0) -> list[WriterEffect]:
        [asked] = {e.message.epoch for e in self.sent(m.Canvass)[-1:]}
        reason = None if granted else m.Reason.LEASE
        answer = m.Consent(epoch=asked, granted=granted, reason=reason, promised=Epoch(promised), position=NOWHERE)
        return self.hear(index, answer)

    def promise(self, index: int, position: m.Position, *, granted: bool = True) -> list[WriterEffect]:
        epoch = self.writer.epoch
        promised = epoch if granted else Epoch(epoch + 1)
        answer = m.Promise(epoch=epoch, granted=granted, promised=promised, position=position)
        return self.hear(index, answer)

    def win(self, position: m.Position = NOWHERE) -> None:
        for index in range(4):
            self.consent(index, promised=2)
        for index in range(4):
            self.promise(index, position)

    def reign(self) -> int:
        """Win, recover at R - 10 and establish the reign on the first four; give S."""
        self.win(m.Position(history=OLD, flush=Lsn(END)))
        [read] = self.sent(m.Read)
        self.hear(
            IDS.index(read.member), m.LogData(lsn=read.message.start, data=bytes(END - read.message.start), last=True)
        )
        for index in range(4):
            self.hear(index, m.Begun(epoch=self.writer.epoch, flush=Lsn(END - 10)))
        return END - 10

    def read_tail(self) -> None:
        [read] = self.sent(m.Read)
        start = read.message.start
        self.hear(IDS.index(read.member), m.LogData(lsn=start, data=bytes(END - start), last=True))

    def sent(self, kind: type[m.Message]) -> list[SendTo]:  # type: ignore[valid-type]
        return [e for e in self.out if isinstance(e, SendTo) and isinstance(e.message, kind)]

    def ack(self, index: int, flush: int, *, beat: int = 0) -> list[WriterEffect]:
        ack = m.Ack(epoch=self.writer.epoch, flush=Lsn(flush), beat=beat, feeding=True)
        return self.hear(index, ack)


def of(kind: type, effects: list[WriterEffect]) -> list[WriterEffect]:
    return [e for e in effects if isinstance(e, kind)]


def test_three_consents_burn_nothing() -> None:
    harness = Harness()
    for index in range(3):
        harness.consent(index)
    [waiting] = of(Waiting, harness.tick(1.0))
    assert "3 consents" in str(waiting)
    assert not harness.sent(m.Solicit)


def test_three_refusals_end_a_round_at_once_and_the_next_one_comes() -> None:
    harness = Harness()
    for index in range(3):
        effects = harness.consent(index, granted=False)
    assert of(Waiting, effects)
    before = len(harness.sent(m.Canvass))
    harness.tick(0.2)
    assert len(harness.sent(m.Canvass)) == before + 6


def test_the_epoch_is_above_all_that_was_ever_promised() -> None:
    harness = Harness()
    for index in range(4):
        harness.consent(index, promised=41 if index == 2 else 0)
    assert {e.message.epoch for e in harness.sent(m.Solicit)} == {42}


def test_a_lost_solicitation_is_resigned_and_its_epoch_never_used_again() -> None:
    harness = Harness()
    for index in range(4):
        harness.consent(index)
    first = harness.writer.epoch
    for index in range(3):
        harness.promise(index, NOWHERE, granted=False)
    assert {(e.message.epoch, e.message.void) for e in harness.sent(m.Resign)} == {(first, True)}
    harness.tick(5.0)
    for index in range(4):
        harness.consent(index)
    assert harness.writer.epoch > first


def test_an_empty_volume_needs_an_image_and_begins_where_it_ends() -> None:
    harness = Harness()
    harness.win()
    assert NeedImage(epoch=Epoch(3)) in harness.tick(0.2)  # an epoch was promised before: the other two are asked, too
    assert not harness.sent(m.Begin)
    harness.writer.image_made("img", ImageExtent(start=Lsn(BASE), end=Lsn(BASE + 100)), harness.now)
    for index in range(4):
        harness.writer.image_stored(IDS[index], harness.now)
    harness.drain()
    begins = harness.sent(m.Begin)
    assert [b.member for b in begins] == list(IDS[:4])
    assert begins[0].message.history == (PREFIX, m.Reign(epoch=Epoch(3), start=Lsn(BASE + 100)))
    for index in range(4):
        harness.hear(index, m.Begun(epoch=Epoch(3), flush=Lsn(BASE + 100)))
    assert Elected(epoch=Epoch(3), history=begins[0].message.history, end=Lsn(BASE + 100)) in harness.out


def test_recovery_reads_the_best_log_and_starts_at_the_last_record_end() -> None:
    harness = Harness()
    for index in range(4):
        harness.consent(index, promised=2)
    best = m.Position(history=OLD, flush=Lsn(END))
    longer = m.Position(history=(PREFIX,), flush=Lsn(END + 500))  # of a lower epoch
    for index, position in enumerate((NOWHERE, longer, best, m.Position(history=OLD, flush=Lsn(END - 1)))):
        harness.promise(index, position)
    [read] = harness.sent(m.Read)
    assert (read.member, read.message.epoch, read.message.upto) == (IDS[2], 2, END)
    harness.hear(2, m.LogData(lsn=read.message.start, data=bytes(END - read.message.start), last=True))
    start = END - 10
    assert harness.writer.end == start
    wanting = {b.member: b.message for b in harness.sent(m.Begin)}
    assert set(wanting) == {IDS[2], IDS[3]}, "those who lack log wait for a donor that holds the entry"
    harness.hear(2, m.Begun(epoch=Epoch(3), flush=Lsn(start)))
    assert {b.message.donor for b in harness.sent(m.Begin) if b.member in IDS[:2]} == {IDS[2]}


def test_recovery_reaches_further_back_for_a_long_record() -> None:
    harness = Harness(ends=[None, LogEnd(end=Lsn(BASE + 200))])
    harness.win(m.Position(history=OLD, flush=Lsn(END)))
    for turn in range(2):
        read = harness.sent(m.Read)[turn]
        start, upto = read.message.start, read.message.upto
        assert start % ALIGN == 0
        harness.hear(IDS.index(read.member), m.LogData(lsn=start, data=bytes(upto - start), last=True))
    assert harness.scanned[1][0] < harness.scanned[0][0]
    assert harness.writer.end == BASE + 200


def test_padding_after_a_segment_switch_is_announced() -> None:
    harness = Harness(ends=[LogEnd(end=Lsn(END + 64), padding=64)])
    harness.win(m.Position(history=OLD, flush=Lsn(END)))
    [read] = harness.sent(m.Read)
    harness.hear(
        IDS.index(read.member), m.LogData(lsn=read.message.start, data=bytes(END - read.message.start), last=True)
    )
    begin = harness.sent(m.Begin)[0].message
    assert (begin.zeros, begin.history[-1].start) == (64, END + 64)


def test_a_donor_that_goes_away_ends_the_attempt() -> None:
    harness = Harness()
    harness.win(m.Position(history=OLD, flush=Lsn(END)))
    [read] = harness.sent(m.Read)
    harness.writer.disconnected(read.member, harness.now)
    assert of(Waiting, harness.drain())
    assert {e.message.void for e in harness.sent(m.Resign)} == {True}


def test_d_is_on_four_and_is_told_alone_when_no_append_takes_it_along() -> None:
    harness = Harness()
    start = harness.reign()
    assert (harness.writer.durable, harness.writer.end) == (start, start)
    harness.writer.offer(Lsn(start), b"x" * 50, harness.now)
    harness.drain()
    for index in range(3):
        assert not of(DurableAdvanced, harness.ack(index, start + 50))
    assert harness.ack(3, start + 20) == [DurableAdvanced(lsn=Lsn(start + 20))]
    assert harness.writer.next_deadline() == harness.writer.announce_at == harness.now + ANNOUNCE_S
    for index in range(4, 6):  # readers follow the log elsewhere: D can wait for what is sent there next
        harness.hear(index, m.Ack(epoch=harness.writer.epoch, flush=Lsn(start), feeding=False))
    told = [e for e in harness.tick(ANNOUNCE_S) if isinstance(e, SendTo) and not getattr(e.message, "beat", 1)]
    assert [(e.message.data, e.message.durable) for e in told] == [(b"", start + 20)] * 4
    assert [e.member for e in told] == list(IDS[:4])


def test_an_append_takes_d_along() -> None:
    harness = Harness()
    start = harness.reign()
    harness.tick(ANNOUNCE_S)
    harness.writer.offer(Lsn(start), b"x" * 50, harness.now)
    for index in range(4):
        harness.ack(index, start + 50)
    harness.drain()
    harness.writer.offer(Lsn(start + 50), b"y", harness.now)
    sent = [e.message for e in harness.drain() if isinstance(e, SendTo)]
    assert {(a.data, a.durable) for a in sent if isinstance(a, m.Append)} == {(b"y", start + 50)}
    assert harness.writer.announce_at is None
    harness.writer.announce()
    assert not of(SendTo, harness.drain())


def test_acks_below_the_start_and_of_other_epochs_count_for_nothing() -> None:
    harness = Harness()
    harness.win(m.Position(history=OLD, flush=Lsn(END)))
    [read] = harness.sent(m.Read)
    harness.hear(
        IDS.index(read.member), m.LogData(lsn=read.message.start, data=bytes(END - read.message.start), last=True)
    )
    for index in range(6):
        harness.ack(index, END - 11)
        harness.hear(index, m.Ack(epoch=Epoch(2), flush=Lsn(END + 9), beat=0))
    assert not of(Elected, harness.out)
    assert harness.writer.room == 0
    with pytest.raises(Misuse):
        harness.writer.offer(Lsn(END - 10), b"x", harness.now)


def test_wal_is_contiguous_and_bounded() -> None:
    harness = Harness()
    start = harness.reign()
    with pytest.raises(Misuse):
        harness.writer.offer(Lsn(start + 1), b"x", harness.now)
    assert harness.writer.room == 500
    harness.writer.offer(Lsn(start), b"x" * 500, harness.now)
    assert harness.writer.room == 0
    for index in range(4):
        harness.ack(index, start + 500)
    assert harness.writer.room == 500


def test_a_member_that_fell_out_of_the_window_pulls_from_one_that_holds_it() -> None:
    harness = Harness()
    start = harness.reign()
    at = start
    for _ in range(10):
        harness.writer.offer(Lsn(at), b"x" * 250, harness.now)
        at += 250
        for index in range(4):
            harness.ack(index, at)
    harness.out.clear()
    position = m.Position(history=(*OLD, m.Reign(epoch=Epoch(3), start=Lsn(start))), flush=Lsn(start + 1))
    harness.promise(5, position)
    [begin] = harness.sent(m.Begin)
    assert begin.message.upto == at
    assert begin.message.donor in IDS[:4]


def test_a_refused_append_starts_over_with_a_promise() -> None:
    harness = Harness()
    start = harness.reign()
    harness.writer.offer(Lsn(start), b"x" * 50, harness.now)
    harness.drain()
    refused = m.Refused(reason=m.Reason.GAP, promised=Epoch(3), generation=Generation(1), config="", message="")
    asked = [e for e in harness.hear(0, refused) if isinstance(e, SendTo)]
    assert [type(e.message) for e in asked] == [m.Solicit]
    assert harness.hear(0, refused) == [], "only once"


def test_the_lease_runs_from_the_time_of_sending() -> None:
    harness = Harness()
    harness.reign()
    sent_at = harness.now + 0.5
    sent = [e for e in harness.tick(0.5) if isinstance(e, SendTo) and isinstance(e.message, m.Append)]
    beats = [e for e in sent if e.message.beat]
    harness.now += 1.0
    for beat in beats[:4]:
        harness.ack(IDS.index(beat.member), END - 10, beat=beat.message.beat)
    assert harness.writer.lease_until == pytest.approx(sent_at + 0.8 * LEASE)
    harness.now = sent_at + 0.8 * LEASE
    assert of(LeaseLost, harness.tick())
    assert harness.writer.over
    assert harness.tick(9.0) == []


def test_only_what_was_answered_holds_the_lease() -> None:
    harness = Harness()
    harness.reign()
    held = harness.writer.lease_until
    harness.now += 1.0
    refused = m.Refused(reason=m.Reason.GAP, promised=Epoch(3), generation=Generation(1), config="", message="")
    for index in range(4):
        harness.hear(index, refused)  # asks again, at a later time
        harness.hear(index, m.Begun(epoch=Epoch(3), flush=Lsn(END - 10)))  # the answer to an earlier Begin
    assert harness.writer.lease_until == held


def test_the_end_of_the_lease_is_not_awaited_for_a_whole_tick() -> None:
    harness = Harness()
    harness.reign()
    until = harness.writer.lease_until
    harness.tick(until - harness.now - 0.01)
    assert harness.writer.next_deadline() == until
    harness.now = until
    assert of(LeaseLost, harness.tick())


def test_members_that_promised_more_fence_when_no_quorum_is_left() -> None:
    harness = Harness()
    harness.reign()
    refused = m.Refused(reason=m.Reason.EPOCH, promised=Epoch(9), generation=Generation(1), config="", message="")
    assert not of(Fenced, harness.hear(0, refused) + harness.hear(1, refused))
    assert of(Fenced, harness.hear(2, refused))
    harness.writer.resign(harness.now)
    assert {e.message.void for e in harness.drain() if isinstance(e, SendTo) and isinstance(e.message, m.Resign)} == {
        False
    }


def test_a_stranger_at_a_members_address_is_left() -> None:
    harness = Harness()
    effects = harness.hear(0, m.Ack(epoch=Epoch(3), flush=Lsn(1), beat=0), sender="m9")
    assert of(Reconnect, effects)


def test_a_newer_configuration_is_learnt_from_a_refusal() -> None:
    harness = Harness()
    newer = VolumeConfig(cluster_uid="u", generation=Generation(1), revision=2, sealed=True, members=CONFIG.members)
    refused = m.Refused(
        reason=m.Reason.CONFIG, promised=Epoch(0), generation=Generation(2), config=newer.to_json(), message=""
    )
    assert of(ConfigLearned, harness.hear(0, refused)) == [ConfigLearned(config=newer)]
    assert harness.writer.config == newer


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1), st.data())
def test_the_window_gives_back_what_it_took(chunks: list[bytes], data: st.DataObject) -> None:
    window, whole = Window(Lsn(7), 100), b"".join(chunks)
    for chunk in chunks:
        window.append(window.end, chunk)
        window.trim(Lsn(data.draw(st.integers(7, window.end))))
    for at in range(window.start, window.end):
        piece = window.piece(Lsn(at), data.draw(st.integers(1, 60)))
        assert piece
        assert piece == whole[at - 7 : at - 7 + len(piece)]
    window.trim(window.end)
    assert window.end - window.start <= 125 + 40
