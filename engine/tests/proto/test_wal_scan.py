"""The scanner finds exactly the record ends, however the WAL is cut and wherever records cross pages and segments."""

from bisect import bisect_right

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.proto import wal
from borealis_engine.proto.testing import PAGE, SEGMENT, WalBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

LENGTHS = st.one_of(
    st.integers(24, 200), st.integers(PAGE - 100, PAGE + 100), st.integers(SEGMENT - 100, 2 * SEGMENT + 100)
)
LOGS = st.lists(st.one_of(LENGTHS, st.just(0)), min_size=1, max_size=25)  # 0: a switch


def build(log: list[int]) -> WalBuilder:
    built = WalBuilder()
    for length in log:
        built.record(length) if length else built.switch()
    return built


def last_end(built: WalBuilder, upto: int) -> int:
    """The oracle: the last of the known ends at or below `upto`, or the start."""
    at = bisect_right(built.ends, upto)
    return built.ends[at - 1] if at else built.start


@settings(deadline=None, max_examples=300)
@given(log=LOGS, data=st.data())
def test_scanner_follows_the_last_end_in_any_chunks(log: list[int], data: st.DataObject) -> None:
    built = build(log)
    scanner = wal.RecordScanner(Lsn(built.start), SEGMENT)
    cuts = data.draw(st.lists(st.integers(0, len(built.data)), max_size=12).map(sorted))
    for low, high in zip([0, *cuts], [*cuts, len(built.data)], strict=True):
        upto = built.start + high
        end = scanner.receive_data(built.data[low:high])
        assert end == last_end(built, upto) or in_void(built, end, upto)
    assert scanner.end == built.position


def in_void(built: WalBuilder, end: int, upto: int) -> bool:
    """Inside a switched segment all that is fed may be passed on."""
    at = bisect_right(built.ends, upto)
    if end != upto or at == len(built.ends):
        return False
    start = built.ends[at - 1] if at else built.start
    head = start + (0 if start % PAGE else (24 if start % SEGMENT else 40))
    kind = built.data[head - built.start : head - built.start + 4]
    return kind == (24).to_bytes(4, "little") and built.ends[at] % SEGMENT == 0 and upto >= head + 24


def ends_in_a_short_tail(built: WalBuilder, start: int, upto: int) -> bool:
    """Whether nothing is known of [start, upto) but the last bytes of one record, so few that it may be a switch."""
    tail = last_end(built, upto) - start - (24 if start % SEGMENT else 40)
    return 0 < tail <= 24 and upto < last_end(built, upto) + 4


def test_a_short_tail_alone_may_be_a_switch_and_is_looked_at_from_further_back() -> None:
    built = build([4 * PAGE - 100])
    start = built.start + 4 * PAGE
    assert ends_in_a_short_tail(built, start, built.position)
    assert wal.find_end(Lsn(start), built.data[4 * PAGE :], SEGMENT) is None
    assert wal.find_end(Lsn(built.start), built.data, SEGMENT) == wal.LogEnd(end=built.position)


@settings(deadline=None, max_examples=300)
@given(log=LOGS, data=st.data())
def test_find_end_is_the_last_end_or_the_switched_segment_s_end(log: list[int], data: st.DataObject) -> None:
    built = build(log)
    upto = built.start + data.draw(st.integers(1, len(built.data)))
    back = data.draw(st.integers(1, 1 + len(built.data) // PAGE))
    start = max(built.start, (upto - 1) // PAGE * PAGE - (back - 1) * PAGE)
    found = wal.find_end(Lsn(start), built.data[start - built.start : upto - built.start], SEGMENT)
    if found is None:
        assert last_end(built, upto) < start or upto < start + 40 or ends_in_a_short_tail(built, start, upto)
    elif found.padding:
        assert found.end == upto + found.padding
        assert found.end % SEGMENT == 0
        assert in_void(built, upto, upto)
    else:
        assert found.end == last_end(built, upto)


@given(log=LOGS)
@settings(deadline=None)
def test_records_walks_all_of_them(log: list[int]) -> None:
    built = build(log)
    seen = list(wal.records(built.data, Lsn(built.start), Lsn(built.start), SEGMENT))
    assert [r.end for r in seen] == built.ends
    assert [r.rmgr for r in seen] == [10 if length else 0 for length in log]


def test_scan_that_begins_inside_a_long_record_waits_for_its_end() -> None:
    built = build([100, 3 * SEGMENT, 100])
    start = built.start + SEGMENT
    scanner = wal.RecordScanner(Lsn(start), SEGMENT)
    assert scanner.receive_data(built.data[SEGMENT : 2 * SEGMENT]) == start
    assert scanner.receive_data(built.data[2 * SEGMENT :]) == built.position


@pytest.mark.parametrize("step", [1, 7, 8, 1000, PAGE, SEGMENT])
@pytest.mark.parametrize("room", [8, 16])  # of the page in which the switch begins
def test_a_switch_across_two_pages_ends_with_its_segment(room: int, step: int) -> None:
    built = build([PAGE - 40 - room, 0, 100])
    scanner = wal.RecordScanner(Lsn(built.start), SEGMENT)
    for low in range(0, len(built.data), step):
        end = scanner.receive_data(built.data[low : low + step])
        upto = min(built.start + low + step, built.start + len(built.data))
        assert end == last_end(built, upto) or in_void(built, end, upto)
    assert scanner.end == built.position
    tail_end = PAGE + 24 + 24 - room
    found = wal.find_end(Lsn(built.start), built.data[:tail_end], SEGMENT)
    assert found is not None
    assert found.end == built.start + SEGMENT
    assert wal.find_end(Lsn(built.start + PAGE), built.data[PAGE:tail_end], SEGMENT) is None
    resumed = wal.RecordScanner(Lsn(built.start + PAGE), SEGMENT)
    assert resumed.receive_data(built.data[PAGE : PAGE + 100]) == built.start + PAGE + 100


@pytest.mark.parametrize("room", [8, 16])
def test_a_scan_that_begins_with_the_tail_of_a_short_record_goes_on(room: int) -> None:
    built = build([PAGE - 40 - room, 24, 100])
    scanner = wal.RecordScanner(Lsn(built.start + PAGE), SEGMENT)
    assert scanner.receive_data(built.data[PAGE:]) == built.position


@pytest.mark.parametrize("damage", [0, 9])
def test_another_page_than_the_expected_one_is_malformed(damage: int) -> None:
    built = build([100] * 100)
    built.data[damage] ^= 0xFF
    with pytest.raises(wal.WalMalformed):
        wal.find_end(Lsn(built.start), built.data[:PAGE], SEGMENT)


def test_memory_is_bounded_by_two_pages() -> None:
    built = build([20 * SEGMENT])
    scanner = wal.RecordScanner(Lsn(built.start), SEGMENT)
    for at in range(0, len(built.data), 1000):
        scanner.receive_data(built.data[at : at + 1000])
        assert len(scanner._window.data) <= 2 * PAGE
    assert scanner.end == built.position
