"""The proof: every acknowledged id is in the database exactly once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from borealis_local.ledger.book import Entry, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the database holds of a book. Anything in `lost`, `doubled` or `risen` is a broken promise."""

    lost: tuple[int, ...]  # acknowledged, and not there
    doubled: tuple[int, ...]  # there more than once
    risen: tuple[int, ...]  # refused, and there all the same
    unknown_present: tuple[int, ...]
    unknown_absent: tuple[int, ...]

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.risen)


def audit(entries: Iterable[Entry], rows: Iterable[int]) -> Audit:
    """Compare the book's entries with the ids found in the database."""
    book, found = list(entries), Counter(rows)

    def ids(outcome: Outcome, *, present: bool) -> tuple[int, ...]:
        return tuple(sorted(e.id for e in book if e.outcome is outcome and (e.id in found) is present))

    return Audit(
        lost=ids(Outcome.ACKED, present=False),
        doubled=tuple(sorted(id for id, count in found.items() if count > 1)),
        risen=ids(Outcome.REFUSED, present=True),
        unknown_present=ids(Outcome.UNKNOWN, present=True),
        unknown_absent=ids(Outcome.UNKNOWN, present=False),
    )
