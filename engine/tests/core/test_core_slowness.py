"""Which members are called slow, and for how long."""

import pytest
from borealis_engine.contract.volume import Lsn, MemberId
from borealis_engine.core.peer import Peer, Stage
from borealis_engine.core.slowness import SLOW_S, Standing, judge, slow, step

END = Lsn(1000)
NOW, SINCE = 100.0, 40.0


def peer(stage: Stage = Stage.STREAMING, *, connected: bool = True, acked: int = 1000, heard: float = 99.9) -> Peer:
    return Peer(id=MemberId("m"), connected=connected, stage=stage, acked=Lsn(acked), heard=heard)


def standing(found: Peer) -> Standing:
    return judge("m", found, end=END, since=SINCE, now=NOW)


def test_who_has_answered_everything_is_not_behind() -> None:
    assert standing(peer(heard=97.0)) == Standing(name="m", unanswered=0.0, behind=0)


def test_who_owes_an_answer_is_behind_by_its_age() -> None:
    owing = peer(acked=400)
    owing.beats.extend([(7, 97.5), (8, 99.9)])
    assert standing(owing) == Standing(name="m", unanswered=2.5, behind=600)
    owing.answered(7)
    assert standing(owing).unanswered == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (peer(connected=False, stage=Stage.OUT, heard=88.0), 12.0),
        (peer(stage=Stage.JOINING, heard=70.0), 30.0),
        (peer(stage=Stage.OUT, heard=float("-inf")), 60.0),
        (peer(stage=Stage.OUT, heard=10.0), 60.0),
    ],
    ids=["no connection", "catching up", "never heard", "heard before the reign"],
)
def test_who_is_not_in_step_is_behind_since_it_was_heard_in_the_reign(found: Peer, seconds: float) -> None:
    assert standing(found).unanswered == seconds


def test_nothing_is_known_of_the_log_of_one_that_has_not_begun() -> None:
    assert standing(peer(stage=Stage.JOINING, acked=0)).behind is None


@pytest.mark.parametrize(
    ("seconds", "told"), [(1.0, 1), (1.9, 1), (4.9, 2), (12.0, 10), (59.0, 30), (60.0, 60), (119.0, 60), (3700.0, 3660)]
)
def test_seconds_are_told_in_steps(seconds: float, told: int) -> None:
    assert step(seconds) == told


def test_only_the_slow_are_named() -> None:
    def of(name: str, seconds: float) -> Standing:
        return Standing(name=name, unanswered=seconds, behind=0)

    assert slow([of("a", 0.0), of("b", SLOW_S - 0.01), of("c", SLOW_S), of("d", 13.0)]) == {"c": 1, "d": 10}
