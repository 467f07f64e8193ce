"""How fast log goes to members that catch up."""

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.net.pace import QUIET_S, RATE, Pace

PIECE = 256 << 10


class Run:
    """A donor that sends pieces for some simulated seconds while `written` bytes of log a second come."""

    def __init__(self, written: float) -> None:
        self.now, self.written, self.given = 100.0, written, 0
        self.pace = Pace(lambda: self.now)

    def on(self, seconds: float) -> float:
        """Give the rate at which it gave, in bytes a second."""
        until, before, began = self.now + seconds, self.given, self.now
        while self.now < until:
            self.now += 0.001
            self.given += PIECE
            log = round((self.now - 100) * self.written)
            self.now += self.pace.pause(PIECE, flush=Lsn(log))
        return (self.given - before) / (self.now - began)


def test_nothing_is_held_back_on_an_idle_volume() -> None:
    assert Run(0).on(1) == pytest.approx(PIECE / 0.001)


def test_little_is_given_while_commits_come() -> None:
    assert Run(1e6).on(10) == pytest.approx(RATE, rel=0.1)


def test_a_volume_is_idle_when_there_was_no_commit_for_a_while() -> None:
    run = Run(1e6)
    run.on(1)
    end = Lsn(round((run.now - 100) * run.written))
    run.now += QUIET_S / 2
    assert run.pace.pause(PIECE, flush=end) > 0
    run.now += 1.1 * QUIET_S
    assert run.pace.pause(PIECE, flush=end) == 0


@pytest.mark.parametrize("written", [10e6, 30e6, 60e6])
def test_whoever_catches_up_gains_on_a_fast_writer(written: float) -> None:
    assert Run(written).on(10) > 1.3 * written  # from each of three donors


def test_nobody_waits_after_a_first_piece_however_much_was_written_before() -> None:
    run = Run(0)
    run.now += 100
    assert run.pace.pause(PIECE, flush=Lsn(1 << 30)) == 0
    run.now += 0.001
    assert run.pace.pause(PIECE, flush=Lsn(1 << 30)) == 0


def test_a_clock_that_stands_still_does_no_harm() -> None:
    pace = Pace(lambda: 5.0)
    assert pace.pause(PIECE, flush=Lsn(10)) == 0
