"""A simulated disk: what was synced stays, what was being synced is torn between records by a crash.

It rots, too. Every durable thing has a checksum, so rot is noticed when the thing is read; the model is told what
cannot be read and keeps the bytes, so that the oracle can say what was there. What no checksum tells is a disk that
forgets the last batches that it said were durable: their place looks as if nothing was ever written there.
"""

from collections import deque
from enum import Enum
from random import Random
from typing import Final

from borealis_engine.contract.volume import Lsn, VolumeConfig
from borealis_engine.core.effects import ImageExtent, Persist
from borealis_engine.core.journal import EMPTY, DurableState, Entered, Logged, Record, apply
from borealis_engine.core.testing.oracle import Oracle
from borealis_engine.core.testing.violation import require

FORGOTTEN: Final = 4  # batches that a disk may forget


class Thing(Enum):
    """A durable thing whose damage is noticed as a whole; damaged log has places."""

    IMAGE = "image"
    CONFIGURATION = "configuration"
    IDENTITY = "identity"
    PROMISE = "promise"  # or history: a record that no other member can give


FOR_GOOD: Final = frozenset({Thing.IDENTITY, Thing.PROMISE})


class Rotten(Exception):
    """What was to be read is damaged."""


class Disk:
    """Journal state, log bytes and images of one member."""

    def __init__(self, name: str, oracle: Oracle) -> None:
        self.name = name
        self.state: DurableState = EMPTY
        self.log = bytearray()  # from state.start
        self.images: dict[str, ImageExtent] = {}
        self.writing: Persist | None = None
        self.config: VolumeConfig | None = None  # as remembered
        self.oracle = oracle
        self.damaged: set[Thing] = set()
        self.holes: list[tuple[int, int]] = []  # of the log, in LSN
        self.forgetful = False  # it has forgotten what it said was durable
        self._earlier: deque[tuple[DurableState, int]] = deque(maxlen=FORGOTTEN)  # states since the last entry, and log

    def read(self, start: int, upto: int) -> bytes:
        """Give log bytes; Rotten if some are damaged."""
        if not self.is_whole(start, upto):
            raise Rotten
        return self.written(start, upto)

    def is_whole(self, start: int, upto: int) -> bool:
        """Tell whether none of these log bytes is damaged."""
        return not any(low < upto and start < high for low, high in self.holes)

    def written(self, start: int, upto: int) -> bytes:
        """Give log bytes as they were written, for the oracle."""
        base = self.state.start
        return bytes(self.log[start - base : upto - base])

    def sync(self) -> None:
        """What is being written is durable now."""
        if self.writing is not None:
            self._earlier.append((self.state, len(self.log)))
            self._take(self.writing.records)
            self.writing = None

    def crash(self, random: Random, torn: int | None = None) -> None:
        """Power is lost: of what was being written, some first records may have reached the disk, or just `torn`."""
        if self.writing is not None:
            some = random.randint(0, len(self.writing.records))
            self._take(self.writing.records[: some if torn is None else torn])
            self.writing = None

    def mend(self, hole: tuple[int, int], data: bytes) -> None:
        """Write what another member gave, unless the hole is gone."""
        if hole in self.holes:
            require(data == self.written(*hole), "what is mended is what was there", self.name, *hole)
            self.holes.remove(hole)

    def forget(self) -> None:
        """Have some last batches be gone that were said to be durable, and nothing to tell of it."""
        if self._earlier:
            self.state, length = self._earlier[0]
            del self.log[length:]
            self.forgetful = True
            self._earlier.clear()

    def _take(self, records: tuple[Record, ...]) -> None:
        for record in records:
            before = self.state
            self.state = apply(before, record)
            if isinstance(record, Logged):
                self.log += record.data
            elif isinstance(record, Entered):
                self._enter(before, record.end)

    def _enter(self, before: DurableState, end: Lsn) -> None:
        same = bool(before.history) and before.history[0] == self.state.history[0]
        keep = end - before.start if same else 0
        self.oracle.truncating(self.name, bytes(self.log), keep)
        del self.log[keep:]
        self._earlier.clear()
        self.holes = [(low, min(high, end)) for low, high in self.holes if same and low < end]
