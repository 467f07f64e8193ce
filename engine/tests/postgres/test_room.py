"""When writing must end for lack of room, and when it may go on."""

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.core.room import MIB
from borealis_engine.postgres.room import BACK, HEADROOM, LOOK_S, MEMORY_S, REACTION_S, Brake
from hypothesis import given, settings
from hypothesis import strategies as st

START = 1 << 30


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 2000.0), st.integers(100, 10_000), st.floats(0, 1.0))
def test_what_is_written_before_a_writer_has_ended_fits_at_any_rate(rate: float, room: int, share: float) -> None:
    """As long as what comes within one reaction is less than all there is."""
    brake, now, horizon = Brake(), 0.0, START + room * MIB
    if rate * (REACTION_S + 3 * LOOK_S) + HEADROOM / MIB > room:
        return
    while not brake.look(now, Lsn(START + int(rate * now * MIB)), Lsn(horizon)):
        now += LOOK_S
        if rate * now > 2 * room or now > 60:
            assert rate * now <= room, "nothing stopped it"
            return
    ended = now + share * (REACTION_S - LOOK_S)
    assert START + rate * ended * MIB <= horizon


@pytest.mark.parametrize("horizon", [None, Lsn(START + 10 * HEADROOM)])
def test_who_writes_nothing_is_not_stopped(horizon: Lsn | None) -> None:
    brake = Brake()
    assert not any(brake.look(at * LOOK_S, Lsn(START), horizon) for at in range(50))


def test_it_stays_stopped_until_there_is_clearly_room_and_nobody_was_fast_lately() -> None:
    brake, end = Brake(), Lsn(START + 500 * MIB)

    def stopped(now: float, room: int) -> bool:
        """Look a few times with so much room, as if nobody wrote."""
        return [brake.look(now + at * LOOK_S, end, Lsn(end + room)) for at in range(5)][-1]

    assert not brake.look(0.0, Lsn(START), Lsn(START + 1000 * MIB))
    assert brake.look(1.0, end, Lsn(START + 1000 * MIB))
    assert brake.look(2.0, end, None), "nobody told: as it was"
    assert stopped(2.1, 500 * MIB), "who was so fast may be so again"
    assert not stopped(2 + MEMORY_S, 500 * MIB)
    assert stopped(50.0, HEADROOM - 1)
    assert stopped(100.0, int(BACK * HEADROOM) - 1)
    assert not stopped(150.0, int(BACK * HEADROOM))
