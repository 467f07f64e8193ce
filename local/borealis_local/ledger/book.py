"""The ledger's book: one line for each attempted commit, written before the next one starts.

The book is the only witness of what the database acknowledged, so a line is flushed to the kernel at once: a
killed ledger loses nothing that it has seen.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TextIO


class Outcome(StrEnum):
    """What a client knows of one commit."""

    ACKED = "acked"  # the server said that it is committed
    UNKNOWN = "unknown"  # sent, and no answer that says: it may be there or not
    REFUSED = "refused"  # the server said that it is not committed


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One attempted commit; `start` and `end` are seconds since the epoch."""

    id: int
    outcome: Outcome
    start: float
    end: float
    error: str = ""

    def to_line(self) -> str:
        """Render as one line of JSON."""
        return json.dumps(
            {
                "id": self.id,
                "outcome": self.outcome,
                "start": self.start,
                "end": self.end,
                "error": self.error,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a book says, in numbers; the gap is between the ends of neighbouring acknowledged commits, in seconds."""

    acked: int
    unknown: int
    refused: int
    longest_gap: float
    errors: tuple[tuple[str, int], ...]


class BookWriter:
    """An open book; `write` returns when the line is with the kernel."""

    def __init__(self, path: Path, run: str) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)
        self._file.write(json.dumps({"run": run}) + "\n")

    def write(self, entry: Entry) -> None:
        """Append one outcome."""
        self._file.write(entry.to_line() + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_book(path: Path) -> tuple[str, list[Entry]]:
    """Read run id and entries; a last line cut by a kill is ignored, anything else that is wrong is a ValueError."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    runs = {raw["run"] for raw in map(json.loads, whole) if "run" in raw}
    if len(runs) != 1:
        raise ValueError(f"{path}: expected the book of one run, found {len(runs)}")
    return runs.pop(), list(_entries(whole))


def _entries(lines: Iterable[str]) -> Iterator[Entry]:
    for raw in map(json.loads, lines):
        if "run" not in raw:
            yield Entry(**{**raw, "outcome": Outcome(raw["outcome"])})


def summarise(entries: Iterable[Entry]) -> Summary:
    """Count outcomes and errors, and find the longest time without an acknowledged commit."""
    book = list(entries)
    counts = Counter(e.outcome for e in book)
    ends = sorted(e.end for e in book if e.outcome is Outcome.ACKED)
    gaps = (later - earlier for earlier, later in pairwise(ends))
    return Summary(
        acked=counts[Outcome.ACKED],
        unknown=counts[Outcome.UNKNOWN],
        refused=counts[Outcome.REFUSED],
        longest_gap=max(gaps, default=0.0),
        errors=tuple(Counter(e.error for e in book if e.error).most_common()),
    )
