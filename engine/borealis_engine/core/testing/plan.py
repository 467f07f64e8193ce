"""Names one schedule exactly: a seed or a script, less some of its faults, which end at a time.

`WITHOUT=3-5,9` leaves out the faults of those numbers; a trace shows them.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

FAULTS_S: Final = 4.0  # seconds of faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to happen."""

    seed: int = 0
    without: frozenset[int] = frozenset()  # numbers of faults
    until: float = FAULTS_S  # seconds; when the faults end and are repaired
    script: str = ""  # of `scripts`, instead of random faults

    def __str__(self) -> str:
        words = [f"SEED={self.seed}"]
        if self.without:
            words.append(f"WITHOUT={ranges(self.without)}")
        if self.until != FAULTS_S:
            words.append(f"UNTIL={self.until:g}")
        return " ".join(words)


def ranges(numbers: frozenset[int]) -> str:
    """Give numbers as `3-5,9`."""
    ordered = sorted(numbers)
    breaks = [i for i, (one, other) in enumerate(pairwise(ordered), 1) if other != one + 1]
    runs = [ordered[start:end] for start, end in pairwise([0, *breaks, len(ordered)])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def numbers(text: str) -> frozenset[int]:
    """Read `ranges`; ValueError if it is no such text."""
    ends = [[int(end) for end in part.split("-", 1)] for part in text.split(",") if part]
    return frozenset(number for run in ends for number in range(run[0], run[-1] + 1))
