"""When a reader is fit for clients, and when it is thrown away."""

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.postgres.errors import AttachFailed
from borealis_engine.postgres.watch import FOLLOW_S, Sight, Watch


def sight(
    *, passed: int = 100, replay: int = 100, timeline: int = 2, newest: int = 2, heard_at: float = 0,
    whole: int = 0, scanned: int = 0, epoch: int = 2, durable: int = 200,
) -> Sight:  # fmt: skip
    return Sight(
        passed=Lsn(passed),
        whole=Lsn(whole or passed),
        scanned=Lsn(scanned or passed),
        epoch=Epoch(epoch),
        durable=Lsn(durable),
        replay=Lsn(replay),
        timeline=Epoch(timeline),
        newest=Epoch(newest),
        heard_at=heard_at,
    )


def begin(durable: int) -> Watch:
    return Watch(Lsn(durable), Epoch(2))


def test_a_reader_is_fit_once_it_replayed_what_was_durable_when_it_attached() -> None:
    watch = begin(200)
    watch.look(sight(passed=300, replay=199), now=0)
    assert not watch.caught_up
    watch.look(sight(passed=300, replay=200), now=1)
    assert watch.caught_up


def test_an_end_inside_a_record_is_not_waited_for() -> None:
    watch = begin(200)
    watch.look(sight(passed=190, replay=190, scanned=199), now=0)
    assert not watch.caught_up
    watch.look(sight(passed=190, replay=189, scanned=200), now=1)
    assert not watch.caught_up
    watch.look(sight(passed=190, replay=190, scanned=200), now=2)
    assert watch.caught_up


def test_nobody_is_caught_up_while_a_record_that_is_whole_on_the_volume_is_here_in_part() -> None:
    watch = begin(5000)
    for second in range(60):  # it is scanned, then comes, and takes its time
        watch.look(sight(passed=190, replay=190, scanned=200 + second), now=second)
        assert not watch.caught_up
    watch.look(sight(passed=190, replay=190, whole=5000, scanned=5000), now=61)
    watch.look(sight(passed=5000, replay=190, whole=5000, scanned=5000), now=65)
    assert not watch.caught_up
    watch.look(sight(passed=5000, replay=5000, whole=5000, scanned=5000), now=66)
    assert watch.caught_up


def test_a_record_that_an_election_cut_off_is_not_waited_for() -> None:
    watch = begin(5000)  # D was inside a long record
    watch.look(sight(passed=190, replay=190, scanned=1000), now=0)
    assert not watch.caught_up
    watch.look(sight(passed=300, replay=300, scanned=300, epoch=3, durable=300), now=1)
    assert watch.caught_up


def test_a_long_record_that_is_only_scanned_yet_is_log_on_the_way() -> None:
    watch = begin(100)
    for second in range(20):
        watch.look(sight(newest=7, heard_at=second, scanned=1000 + second), now=second)


def astray(now: float, **more: int) -> tuple[Sight, float]:
    return sight(newest=7, heard_at=now, **more), now


def test_a_reader_that_does_not_come_over_is_thrown_away_even_after_long_idleness() -> None:
    watch = begin(100)
    for second in range(100):
        watch.look(sight(heard_at=second), now=second)
    for now in (100.0, 101.0, 103.0):
        seen, at = astray(now)
        watch.look(seen, now=at)
    seen, at = astray(100 + FOLLOW_S + 0.1)
    with pytest.raises(AttachFailed, match="timeline 2, not 7"):
        watch.look(seen, now=at)


def test_neither_log_on_the_way_nor_silent_nodes_are_a_reason() -> None:
    watch = begin(100)
    for second in range(20):
        seen, at = astray(float(second), passed=100 + second)
        watch.look(seen, now=at)
    for second in range(20, 40):
        watch.look(sight(passed=119, newest=7, heard_at=18), now=second)
