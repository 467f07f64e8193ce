"""The ledger's judgement, without a database: it must see every broken promise."""

from pathlib import Path

import psycopg
import pytest
from borealis_local.ledger.audit import audit
from borealis_local.ledger.book import BookWriter, Entry, Outcome, read_book, summarise
from borealis_local.ledger.clients import DeadlinePassed, judge


def entry(id: int, outcome: Outcome = Outcome.ACKED, *, end: float = 0.0) -> Entry:
    return Entry(id=id, outcome=outcome, start=0.0, end=end)


def test_a_kept_book_is_ok() -> None:
    result = audit([entry(1), entry(2), entry(3, Outcome.UNKNOWN), entry(4, Outcome.UNKNOWN)], [2, 1, 3])
    assert result.ok
    assert result.unknown_present == (3,)
    assert result.unknown_absent == (4,)


@pytest.mark.parametrize(
    ("entries", "rows", "broken"),
    [
        pytest.param([entry(1), entry(2)], [1], "lost", id="acknowledged and gone"),
        pytest.param([entry(1)], [1, 1], "doubled", id="there twice"),
        pytest.param([entry(1, Outcome.UNKNOWN)], [1, 1], "doubled", id="unknown and there twice"),
        pytest.param([entry(1, Outcome.REFUSED)], [1], "risen", id="refused and there"),
    ],
)
def test_a_broken_promise_is_seen(entries: list[Entry], rows: list[int], broken: str) -> None:
    result = audit(entries, rows)
    assert not result.ok
    assert getattr(result, broken)


def test_the_longest_gap_is_between_acknowledged_commits_of_all_clients() -> None:
    book = [entry(1, end=1.0), entry(2, end=9.0), entry(3, Outcome.UNKNOWN, end=5.0), entry(4, end=2.5)]
    assert summarise(book).longest_gap == 6.5


def test_a_book_survives_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "book"
    writer = BookWriter(path, "r1")
    writer.write(entry(7))
    writer.close()
    with path.open("a") as file:
        file.write('{"id": 8, "outc')
    assert read_book(path) == ("r1", [entry(7)])


def test_books_of_two_runs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "book"
    for run in ("a", "b"):
        BookWriter(path, run).close()
    with pytest.raises(ValueError, match="one run"):
        read_book(path)


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (psycopg.errors.ReadOnlySqlTransaction(), Outcome.REFUSED),
        (psycopg.errors.UniqueViolation(), Outcome.REFUSED),
        (psycopg.errors.AdminShutdown(), Outcome.UNKNOWN),
        (psycopg.OperationalError("server closed the connection"), Outcome.UNKNOWN),
        (DeadlinePassed(), Outcome.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_the_server_refused_counts_as_refused(failure: Exception, outcome: Outcome) -> None:
    assert judge(failure) is outcome
