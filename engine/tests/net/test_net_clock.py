"""The clock that stands still while its process does."""

from borealis_engine.net.clock import MOST_S, StallFreeClock
from hypothesis import given
from hypothesis import strategies as st


class Real:
    """Real time, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_long_stall_counts_as_a_short_one_before_and_after_the_next_beat() -> None:
    real = Real()
    clock = StallFreeClock(real)
    began = clock.now()
    real.seconds += 60
    assert clock.now() - began == MOST_S
    clock.beat()
    assert clock.now() - began == MOST_S
    assert clock.stalled == 60 - MOST_S


@given(steps=st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=30))
def test_it_never_goes_back_nor_faster_than_real_time(steps: list[tuple[float, bool]]) -> None:
    real = Real()
    clock = StallFreeClock(real)
    before, began = clock.now(), real.seconds
    for seconds, beat in steps:
        real.seconds += seconds
        if beat:
            clock.beat()
        assert before <= clock.now() <= real.seconds + 1e-9
        before = clock.now()
    assert clock.stalled <= real.seconds - began + 1e-9


def test_beats_in_time_lose_nothing() -> None:
    real = Real()
    clock = StallFreeClock(real)
    for _ in range(100):
        real.seconds += MOST_S / 2
        clock.beat()
    assert abs(clock.now() - real.seconds) < 1e-6
    assert clock.stalled == 0
