"""A simulated disk: what was synced stays, what was being synced is torn between records by a crash."""

from random import Random

from borealis_engine.contract.volume import Lsn, VolumeConfig
from borealis_engine.core.effects import ImageExtent, Persist
from borealis_engine.core.journal import EMPTY, DurableState, Entered, Logged, Record, apply
from borealis_engine.core.testing.oracle import Oracle


class Disk:
    """Journal state, log bytes and images of one member."""

    def __init__(self, name: str, oracle: Oracle) -> None:
        self.name = name
        self.state: DurableState = EMPTY
        self.log = bytearray()  # from state.start
        self.images: dict[str, ImageExtent] = {}
        self.unreadable_until = 0.0  # the images: their damage is noticed, by the digest; then a member gives them anew
        self.writing: Persist | None = None
        self.config: VolumeConfig | None = None  # as remembered
        self.oracle = oracle

    def read(self, start: int, upto: int) -> bytes:
        """Give log bytes."""
        base = self.state.start
        return bytes(self.log[start - base : upto - base])

    def sync(self) -> None:
        """What is being written is durable now."""
        if self.writing is not None:
            self._take(self.writing.records)
            self.writing = None

    def crash(self, random: Random, torn: int | None = None) -> None:
        """Power is lost: of what was being written, some first records may have reached the disk, or just `torn`."""
        if self.writing is not None:
            some = random.randint(0, len(self.writing.records))
            self._take(self.writing.records[: some if torn is None else torn])
            self.writing = None

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
