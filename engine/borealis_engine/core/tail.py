"""What recovery asks of a scanner of records, so that the core knows nothing of WAL's format."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from borealis_engine.contract.volume import Lsn

ALIGN: Final = 1024 * 1024  # bytes; tails begin on a multiple of it (a page and the smallest segment are divisors)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """E, and how many of the bytes just below it are zeros that nobody holds.

    E is the end of the last complete record; if that is a segment switch, the end of its segment, and then
    `padding` is what the log lacks up to there.
    """

    end: Lsn
    padding: int = 0


Scan: TypeAlias = Callable[[Lsn, bytes], LogEnd | None]
"""`scan(start, tail)`: `tail` is log from `start` (a multiple of ALIGN, or the image's first byte), to the end R or,
once no record ends above it, to less.

None if no record ends in it: asked again with what lies before it.
"""
