"""A candidate is told by three members that an owner lives, and gives up; a member that restarted proves nothing."""

from dataclasses import dataclass

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core import messages as m
from borealis_engine.core.effects import Waiting
from borealis_engine.core.writer import Writer

from .test_core_writer import BASE, CONFIG, END, IDS, LEASE, PREFIX, Harness


@dataclass
class Doubter(Harness):
    """A candidate whose members refuse for an owner that they hear; the owner of epoch 2 is thought dead."""

    def __post_init__(self) -> None:
        self.writer = Writer(config=CONFIG, owner="me", lease=LEASE, scan=self.scan, now=self.now, known=Epoch(2))
        for member in IDS:
            self.writer.connected(member, self.now)
        self.tick()

    def refuse(self, *, epoch: int, members: int = 3) -> bool:
        """Have a round refused by members that hold `epoch`; whether that proves an owner who lives."""
        history = (PREFIX, m.Reign(epoch=Epoch(epoch), start=Lsn(BASE + 100)))
        asked = self.sent(m.Canvass)[-1].message.epoch
        out = [
            effect
            for index in range(members)
            for effect in self.hear(
                index,
                m.Consent(
                    epoch=asked,
                    granted=False,
                    reason=m.Reason.LEASE,
                    promised=Epoch(epoch),
                    position=m.Position(history=history, flush=Lsn(END)),
                ),
            )
        ]
        return any(isinstance(effect, Waiting) and effect.outlived for effect in out)


def test_an_owner_of_a_newer_epoch_that_three_members_hear_lives() -> None:
    assert not Doubter().refuse(epoch=2)
    assert not Doubter().refuse(epoch=3, members=2)
    assert Doubter().refuse(epoch=3)


def test_an_owner_lives_who_is_heard_for_longer_than_the_lease_and_a_member_that_restarted_proves_nothing() -> None:
    steady, restarted = Doubter(), Doubter()
    for turn in range(30):
        assert steady.refuse(epoch=2) == (turn * 0.25 >= LEASE)
        for member in IDS[:2]:
            restarted.writer.connected(member, restarted.now)
        assert not restarted.refuse(epoch=2)
        for each in (steady, restarted):
            each.tick(0.25)
