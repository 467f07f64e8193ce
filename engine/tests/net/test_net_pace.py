"""How fast log goes to members that catch up."""

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.net.pace import BULK, PIECE, QUIET_S, RATE, Pace


class Run:
    """A donor that sends pieces for some simulated seconds while `written` bytes of log a second come."""

    def __init__(self, written: float) -> None:
        self.now, self.written, self.given, self.largest = 100.0, written, 0, 0
        self.pace = Pace(lambda: self.now)

    def on(self, seconds: float) -> float:
        """Give the rate at which it gave, in bytes a second."""
        until, before, began = self.now + seconds, self.given, self.now
        while self.now < until:
            self.give(BULK)
        return (self.given - before) / (self.now - began)

    def give(self, size: int) -> None:
        """Answer a request for so much."""
        while size > 0:
            self.now += 0.001
            piece = min(size, self.pace.piece)
            self.given, self.largest, size = self.given + piece, max(self.largest, piece), size - piece
            log = round((self.now - 100) * self.written)
            self.now += self.pace.pause(piece, flush=Lsn(log))


def test_nothing_is_held_back_on_an_idle_volume() -> None:
    assert Run(0).on(1) == pytest.approx(BULK / 0.001, rel=0.01)


def test_little_is_given_while_commits_come() -> None:
    run = Run(1e6)
    assert run.on(10) == pytest.approx(RATE, rel=0.1)
    assert run.pace.piece == PIECE


def test_who_asks_now_and_then_while_commits_come_gets_small_pieces_too() -> None:
    run = Run(1e6)
    for _ in range(50):
        run.now += 1.5 * QUIET_S
        run.give(BULK)
    assert run.largest == PIECE


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
