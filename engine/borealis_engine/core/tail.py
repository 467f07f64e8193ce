"""What recovery asks of a scanner of records, so that the core knows nothing of WAL's format."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from borealis_engine.contract.volume import Lsn

ALIGN: Final = 1024 * 1024  # bytes; tails begin on a multiple of it (a page and the smallest segment are divisors)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """Where the last complete record of a log ends, and how many zeros follow if that is a segment switch.

    E = end + zeros. Bytes of the log between `end` and E, if any, are zeros already.
    """

    end: Lsn
    zeros: int = 0


Scan: TypeAlias = Callable[[Lsn, bytes], LogEnd | None]
"""`scan(start, tail)`: `tail` is the log from `start` (a multiple of ALIGN, or the image's first segment) to its end R.

None if no record ends in it: asked again with a longer tail. A zero-length remainder after the last record is normal.
"""
