"""Which members are called slow, and for how long."""

import pytest
from borealis_engine.contract.volume import Lsn, MemberId
from borealis_engine.core.peer import Peer, Stage
from borealis_engine.core.slowness import LATE_S, MEAN_S, SLOW_S, Lateness, Standing, slow, step

END = Lsn(1000)
NOW, SINCE = 100.0, 40.0


def peer(stage: Stage = Stage.STREAMING, *, connected: bool = True, acked: int = 1000, heard: float = 99.9) -> Peer:
    return Peer(id=MemberId("m"), connected=connected, stage=stage, acked=Lsn(acked), heard=heard)


def standing(found: Peer) -> Standing:
    return Lateness(SINCE).judge("m", found, end=END, now=NOW)


def test_who_has_answered_everything_is_not_behind() -> None:
    assert standing(peer(heard=97.0)) == Standing(name="m", unanswered=0.0, behind=0)


def test_who_owes_an_answer_is_behind_by_its_age() -> None:
    owing = peer(acked=400)
    owing.beats.extend([(7, 97.5), (8, 99.9)])
    assert standing(owing) == Standing(name="m", unanswered=2.5, behind=600, slow=2.5)
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
    ("seconds", "told"),
    [(0.4, 0), (1.0, 1), (1.9, 1), (4.9, 2), (12.0, 10), (59.0, 30), (60.0, 60), (119.0, 60), (3700.0, 3660)],
)
def test_seconds_are_told_in_steps(seconds: float, told: int) -> None:
    assert step(seconds) == told


def test_only_the_slow_are_named() -> None:
    def of(name: str, slow: float | None) -> Standing:
        return Standing(name=name, unanswered=0.0, behind=0, slow=slow)

    assert slow([of("a", None), of("b", 0.0), of("c", 1.0), of("d", 13.0)]) == {"b": 0, "c": 1, "d": 10}


@pytest.mark.parametrize(("seconds", "named"), [(SLOW_S - 0.01, False), (SLOW_S, True)])
def test_who_owes_an_answer_for_long_is_slow_at_once(seconds: float, named: bool) -> None:
    found = peer()
    found.beats.append((7, NOW - seconds))
    assert (standing(found).slow is not None) == named


class Look:
    """Six members that are looked at ten times a second, each answering as late as told."""

    def __init__(self) -> None:
        self.peers = [Peer(id=MemberId(f"m{n}"), connected=True, stage=Stage.STREAMING, acked=END) for n in range(6)]
        self.lateness, self.now = Lateness(since=SINCE), SINCE

    def on(self, seconds: float, late: dict[int, float]) -> set[int]:
        """Go on for some seconds; give the numbers of those that are slow then."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            for number, found in enumerate(self.peers):
                found.beats.clear()
                if age := late.get(number, 0.0005):
                    found.beats.append((1, self.now - age))
            self.lateness.look(self.peers, self.now)
        return {n for n, found in enumerate(self.peers) if self.of(found).slow is not None}

    def of(self, found: Peer) -> Standing:
        return self.lateness.judge(found.id, found, end=END, now=self.now)


def test_who_answers_late_again_and_again_is_slow_since_then_and_forgiven_within_seconds() -> None:
    look = Look()
    assert look.on(1, {2: 0.1}) == set()
    assert look.on(2 * MEAN_S, {2: 0.1}) == {2}
    assert look.on(30, {2: 0.1}) == {2}
    spell = look.of(look.peers[2]).slow
    assert spell is not None
    assert 30 < spell < 30 + 2 * MEAN_S
    assert look.on(MEAN_S, {}) == set()


def test_one_that_is_in_time_more_often_than_not_is_not_slow() -> None:
    look = Look()
    for _ in range(60):
        assert look.on(0.2, {2: 0.15}) == set()
        assert look.on(0.8, {}) == set()


def test_one_that_was_frozen_is_forgiven_before_long() -> None:
    look = Look()
    look.on(3, {2: 5.0})
    assert look.on(MEAN_S / 2, {}) == set()


def test_what_is_late_for_most_makes_nobody_slow() -> None:
    look = Look()
    assert look.on(60, dict.fromkeys(range(6), 0.15)) == set()
    assert look.on(60, dict.fromkeys(range(4), 0.15)) == set()


def test_where_all_take_their_time_one_that_takes_much_more_is_named() -> None:
    late = dict.fromkeys(range(6), 0.03)
    assert Look().on(60, late) == set()
    assert Look().on(60, late | {4: 0.9}) == {4}


def test_three_that_are_late_are_named() -> None:
    assert Look().on(60, dict.fromkeys((0, 3, 5), 0.15)) == {0, 3, 5}


def test_nothing_is_learned_of_a_member_while_it_is_not_in_step() -> None:
    look = Look()
    look.on(1, {})
    look.peers[2].stage = Stage.JOINING
    look.on(60, {2: 0.9})
    look.peers[2].stage = Stage.STREAMING
    assert look.on(0.1, {}) == set()


def test_a_member_that_is_gone_is_forgotten() -> None:
    look = Look()
    assert look.on(2 * MEAN_S, {2: LATE_S * 3}) == {2}
    left = look.peers.pop(2)
    look.on(0.1, {})
    assert look.of(left).slow is None
