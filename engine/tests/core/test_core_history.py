"""Histories and quorums: what they say is compared with what the bytes say."""

import pytest
from borealis_engine.contract.volume import Epoch, Lsn, MemberId
from borealis_engine.core.history import common_point, epoch_of, extend, held
from borealis_engine.core.messages import History, Reign
from borealis_engine.core.quorum import blocks, covered, covered_time, elects
from hypothesis import given
from hypothesis import strategies as st


def history(*reigns: tuple[int, int], image: str = "i") -> History:
    return tuple(Reign(epoch=Epoch(e), start=Lsn(s), image=image if n == 0 else "") for n, (e, s) in enumerate(reigns))


@pytest.mark.parametrize(
    ("mine", "flush", "theirs", "point"),
    [
        pytest.param(history((1, 0), (2, 50)), 80, history((1, 0), (2, 50), (3, 90)), 80, id="behind"),
        pytest.param(history((1, 0), (2, 50)), 99, history((1, 0), (2, 50), (3, 90)), 90, id="uncommitted tail"),
        pytest.param(history((1, 0), (2, 50)), 80, history((1, 0), (3, 40)), 40, id="fork below"),
        pytest.param(history((1, 0), (2, 50)), 80, history((1, 0), (3, 70)), 50, id="fork above"),
        pytest.param(history((1, 0), (2, 50)), 50, history((1, 0), (3, 50)), 50, id="empty reign"),
        pytest.param(history((1, 0), (2, 50)), 80, history((1, 0), (2, 50)), 80, id="the same"),
        pytest.param((), 0, history((1, 0), (2, 50)), None, id="nothing here"),
        pytest.param(history((1, 0), image="a"), 9, history((1, 0), (2, 5), image="b"), None, id="other image"),
    ],
)
def test_common_point(mine: History, flush: int, theirs: History, point: int | None) -> None:
    assert common_point(mine, Lsn(flush), theirs) == point


def bytes_of(of: History, flush: int) -> list[int]:
    """Each byte as the epoch that wrote it."""
    out: list[int] = []
    for i, reign in enumerate(of):
        end = of[i + 1].start if i + 1 < len(of) else flush
        out += [reign.epoch] * (min(end, flush) - reign.start)
    return out


@given(st.data())
def test_below_the_common_point_bytes_agree_and_nothing_more_is_lost_than_must(data: st.DataObject) -> None:
    """Two logs grown by random reigns over one or the other, as elections do."""
    logs: list[tuple[History, int]] = [(history((1, 0)), 10), (history((1, 0)), 10)]
    for epoch in range(2, data.draw(st.integers(2, 8))):
        winner = data.draw(st.integers(0, 1))
        of, flush = logs[winner]
        start = data.draw(st.integers(max(of[-1].start, 10), flush))
        grown = (extend(of, Epoch(epoch), Lsn(start)), start + data.draw(st.integers(0, 5)))
        logs[winner] = grown
        if data.draw(st.booleans()):
            logs[1 - winner] = (grown[0], data.draw(st.integers(start, grown[1])))
    (mine, flush), (theirs, length) = logs
    point = common_point(held(mine, Lsn(flush)), Lsn(flush), theirs)
    assert point is not None
    a, b = bytes_of(mine, flush), bytes_of(theirs, max(length, flush))
    assert a[:point] == b[:point]
    assert point == flush or a[point] != b[point]


def test_extend_leaves_out_reigns_that_wrote_nothing() -> None:
    assert extend(history((1, 0), (2, 50)), Epoch(3), Lsn(50)) == history((1, 0), (3, 50))
    assert extend(history((1, 0), (2, 50)), Epoch(3), Lsn(51)) == history((1, 0), (2, 50), (3, 51))
    assert epoch_of(()) == 0


def test_held_drops_reigns_not_reached() -> None:
    of = history((1, 0), (2, 50), (3, 90))
    assert held(of, Lsn(89)) == of[:2]
    assert held(of, Lsn(90)) == of


@given(st.lists(st.integers(0, 100), min_size=6, max_size=6))
def test_covered_is_on_four_and_no_more_is(values: list[int]) -> None:
    d = covered(values)
    assert sum(v >= d for v in values) >= 4
    assert sum(v >= d + 1 for v in values) < 4


@pytest.mark.parametrize("count", range(7))
def test_quorums_of_six(count: int) -> None:
    six = [MemberId(f"m{i}") for i in range(6)]
    assert elects((frozenset(six),), six[:count]) is (count >= 4)
    assert blocks((frozenset(six),), six[count:]) is not elects((frozenset(six),), six[:count])
    assert covered([9] * count) == (9 if count >= 4 else 0)
    assert covered_time([9.0] * count) == (9.0 if count >= 4 else float("-inf"))
