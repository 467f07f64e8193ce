"""When a reader is fit for clients, and when it is thrown away."""

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.postgres.errors import AttachFailed
from borealis_engine.postgres.watch import FOLLOW_S, SETTLED_S, Sight, Watch


def sight(*, passed: int = 100, replay: int = 100, timeline: int = 2, newest: int = 2, heard_at: float = 0) -> Sight:
    return Sight(
        passed=Lsn(passed),
        replay=Lsn(replay),
        timeline=Epoch(timeline),
        newest=Epoch(newest),
        heard_at=heard_at,
    )


def test_a_reader_is_fit_once_it_replayed_what_was_durable_when_it_attached() -> None:
    watch = Watch(Lsn(200))
    watch.look(sight(passed=300, replay=199), now=0)
    assert not watch.caught_up
    watch.look(sight(passed=300, replay=200), now=1)
    assert watch.caught_up


def test_an_end_inside_a_record_is_not_waited_for() -> None:
    watch = Watch(Lsn(200))
    watch.look(sight(passed=190, replay=190), now=0)
    watch.look(sight(passed=190, replay=190), now=SETTLED_S)
    assert not watch.caught_up
    watch.look(sight(passed=190, replay=190), now=SETTLED_S + 0.1)
    assert watch.caught_up


def astray(now: float, **more: int) -> tuple[Sight, float]:
    return sight(newest=7, heard_at=now, **more), now


def test_a_reader_that_does_not_come_over_is_thrown_away_even_after_long_idleness() -> None:
    watch = Watch(Lsn(100))
    for second in range(100):
        watch.look(sight(heard_at=second), now=second)
    for now in (100.0, 101.0, 103.0):
        seen, at = astray(now)
        watch.look(seen, now=at)
    seen, at = astray(100 + FOLLOW_S + 0.1)
    with pytest.raises(AttachFailed, match="timeline 2, not 7"):
        watch.look(seen, now=at)


def test_neither_log_on_the_way_nor_silent_nodes_are_a_reason() -> None:
    watch = Watch(Lsn(100))
    for second in range(20):
        seen, at = astray(float(second), passed=100 + second)
        watch.look(seen, now=at)
    for second in range(20, 40):
        watch.look(sight(passed=119, newest=7, heard_at=18), now=second)
