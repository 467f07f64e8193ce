"""An owner and its log writer whose members the test plays: what is sent to whom, and in which order."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import pytest
from borealis_engine.contract.volume import Epoch, Generation, Lsn, Member, MemberId, VolumeConfig
from borealis_engine.core import messages as m
from borealis_engine.net.members import Members
from borealis_engine.postgres.accession import campaign
from borealis_engine.postgres.errors import ReignEnded
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.ownership import Ownership
from borealis_engine.proto.pgwire import packet, render_xlog_data

IDS = tuple(MemberId(f"{i:016x}") for i in range(6))
CONFIG = VolumeConfig(
    cluster_uid="u",
    generation=Generation(1),
    revision=1,
    sealed=True,
    members=tuple(Member(id=id, name=id, zone="z", address="127.0.0.1:1") for id in IDS),
)
NOTHING = cast(Any, None)
DEADLINE_S = 6.0  # less than a campaign is given
START = Lsn(16 << 20)
POSITION = m.Position(
    history=(m.Reign(epoch=Epoch(1), start=START, image="i"), m.Reign(epoch=Epoch(2), start=START)), flush=START
)


class Volume(Members):
    """Six members that promise and begin at once, and acknowledge what they are sent if they are not `silent`."""

    def __init__(self, owner: Ownership) -> None:
        super().__init__(tls=NOTHING, identity="", config=CONFIG, listener=owner)
        self.owner = owner
        self.silent = set[MemberId]()
        self.ends = dict.fromkeys(IDS, START)  # of the log that each was sent
        self.gaps = list[tuple[MemberId, Lsn, Lsn]]()
        self.living: Epoch | None = None  # the owner that the members hear; then they consent to nobody
        self._answers = deque[tuple[MemberId, m.Message]]()

    @property
    def position(self) -> m.Position:
        """What the members hold of the living owner's epoch."""
        history = POSITION.history if self.living == 2 else (POSITION.history[0], m.Reign(epoch=Epoch(3), start=START))
        return m.Position(history=history, flush=START)

    def start(self) -> None:
        for id in IDS:
            self.owner.connected(id)

    def send_appends(self, appends: Sequence[tuple[MemberId, m.Append]]) -> None:
        for id, append in appends:
            self.send(id, append)

    def send(self, id: MemberId, message: m.Message) -> bool:
        match message:
            case m.Canvass(epoch=epoch) if self.living is not None:
                reason = m.Reason.LEASE
                consent = m.Consent(
                    epoch=epoch, granted=False, reason=reason, promised=self.living, position=self.position
                )
                self._answers.append((id, consent))
            case m.Canvass(epoch=epoch):
                consent = m.Consent(epoch=epoch, granted=True, reason=None, promised=Epoch(2), position=POSITION)
                self._answers.append((id, consent))
            case m.Solicit(epoch=epoch):
                promise = m.Promise(epoch=epoch, granted=True, promised=epoch, position=POSITION)
                self._answers.append((id, promise))
            case m.Begin(epoch=epoch):
                self._answers.append((id, m.Begun(epoch=epoch, flush=START)))
            case m.Append(epoch=epoch, lsn=lsn, data=data, beat=beat):
                if data:
                    self.gaps += [(id, lsn, self.ends[id])] if lsn != self.ends[id] else []
                    self.ends[id] = Lsn(lsn + len(data))
                if id not in self.silent:
                    self._answers.append((id, m.Ack(epoch, Lsn(lsn + len(data)), beat)))
        return True

    def deliver(self) -> None:
        """Have all answers heard, and the answers to what follows."""
        while self.step():
            pass

    def step(self) -> bool:
        """Have one answer heard; False: there is none."""
        if not self._answers:
            return False
        id, message = self._answers.popleft()
        self.owner.received(id, m.Envelope(Generation(1), id, "", message))
        return True

    def returns(self, id: MemberId, flush: Lsn) -> None:
        """A silent member acknowledges log up to `flush`, and then the rest and whatever comes."""
        self.silent.remove(id)
        self._answers += [(id, m.Ack(Epoch(3), at, 0)) for at in (flush, self.ends[id])]
        self.deliver()


async def test_a_member_that_returns_under_load_is_sent_contiguous_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """What D releases is offered while D is told, and the member still lacks older log."""
    owner = Ownership(config=CONFIG, tls=NOTHING, lease=60.0, segment_size=16 << 20, make_image=NOTHING)
    volume = Volume(owner)
    monkeypatch.setattr(owner, "_members", volume)
    owner.start()
    volume.deliver()
    elected = owner.elected.result()
    start = end = elected.end
    writer = LogWriter(owner, start=start, timeline=elected.epoch)
    owner.attach(writer)
    writer.data_received(packet(b"R", bytes(4)) + packet(b"Z", b"I") + packet(b"W", b"\0\0\0"))

    volume.silent |= {*IDS[3:]}
    for size in (7 << 20, 3 << 20, 1000):  # more than is sent at once to who is silent; the last one gathers
        writer.data_received(render_xlog_data(end, end, bytes(size), 0.0))
        volume.deliver()
        end = Lsn(end + size)
    assert owner.durable == start
    assert volume.ends[IDS[0]] == end - 1000, "the last one waits for the log before it"
    assert volume.ends[IDS[3]] < end - 1000
    volume.returns(IDS[3], Lsn(start + (7 << 20)))

    assert owner.durable == end
    assert volume.gaps == []
    assert {id: at for id, at in volume.ends.items() if id not in volume.silent} == dict.fromkeys(IDS[:4], end)
    await owner.aclose(resign=False)
    writer.ended.cancel()


async def candidate(monkeypatch: pytest.MonkeyPatch, *, living: int, lease: float) -> str:
    """Campaign while the members hear the owner of epoch `living`; the owner of epoch 2 is thought dead."""
    owner = Ownership(
        config=CONFIG, tls=NOTHING, lease=lease, segment_size=16 << 20, make_image=NOTHING, known=Epoch(2)
    )
    volume = Volume(owner)
    volume.living = Epoch(living)
    monkeypatch.setattr(owner, "_members", volume)
    answering = asyncio.create_task(answer(volume))
    try:
        with pytest.raises(ReignEnded) as ended:
            await asyncio.wait_for(campaign(owner, lease=lease), DEADLINE_S)
    finally:
        answering.cancel()
        await owner.aclose(resign=False)
    return str(ended.value)


async def answer(volume: Volume) -> None:
    while True:
        volume.deliver()
        await asyncio.sleep(0.01)


async def test_a_candidate_who_hears_of_a_newer_owner_is_a_reader_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the lease of a minute nothing but the newer epoch tells it."""
    assert "another owner lives" in await candidate(monkeypatch, living=3, lease=60.0)


async def test_a_candidate_whose_members_go_on_hearing_the_owner_is_a_reader_again_after_a_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "another owner lives" in await candidate(monkeypatch, living=2, lease=0.5)
