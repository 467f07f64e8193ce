"""Where the log lies: LSN to (file, offset), sparse, in memory, rebuilt when the journal is opened.

The journal is written in the order in which things happened; the log is what is left of it after truncations.
A *run* is a stretch of log whose frames follow each other in one file. Invariant: runs are sorted, contiguous and
never overlap, so every LSN of the log has one place; a truncation at S drops what lies at or above S and nothing else.
"""

from bisect import bisect_right
from dataclasses import dataclass, field, replace

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.journal import DurableState, Entered, Logged, Record
from borealis_engine.store.errors import DiskCorrupt, LogUnknown
from borealis_engine.store.frames import FRAME
from borealis_engine.store.records import PIECE

POINT_EVERY = 256 * 1024  # bytes of log between two remembered frames
HINTS = 64  # places remembered for those who follow the log


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Scan file `file` from `offset`, where a frame that begins at or below the wanted LSN stands; stop at `upto`."""

    run: Lsn  # where the run begins, which names it
    file: int
    offset: int
    lsn: Lsn  # of the frame at `offset`
    upto: Lsn


@dataclass(slots=True)
class _Run:
    file: int
    start: int
    end: int
    lsns: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)


class LogIndex:
    """The runs of the log."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._starts: list[int] = []
        self._closed = True  # whether the next frame opens a run
        self._hints: dict[int, Place] = {}
        self.cuts = 0  # truncations so far: whoever reads compares it before and after

    def note(self, record: Record, before: DurableState, file: int, offset: int) -> None:
        """Enter what a record, whose frame stands at `offset` of `file`, does to a log in state `before`."""
        match record:
            case Logged(lsn=lsn, data=data):
                for at in range(0, len(data), PIECE):
                    length = min(PIECE, len(data) - at)
                    self.add(Lsn(lsn + at), length, file, offset + at + FRAME.size * (at // PIECE))
            case Entered(history=history, end=end) if before.history[:1] == history[:1]:
                self.truncate(end)
            case Entered():
                self.truncate(Lsn(0))

    @property
    def runs(self) -> list[tuple[int, Lsn, Lsn]]:
        """Give (file, start, end) of each run, in the order of the log; the runs of one file follow each other."""
        return [(run.file, Lsn(run.start), Lsn(run.end)) for run in self._runs]

    def add(self, lsn: Lsn, length: int, file: int, offset: int) -> None:
        """Note a frame of `length` log bytes; DiskCorrupt unless it begins where the log ends."""
        run = self._runs[-1] if self._runs else None
        if run is not None and run.end != lsn:
            raise DiskCorrupt(f"log at {lsn} does not continue the log that ends at {run.end}")
        if run is None or run.file != file or self._closed:
            run = _Run(file, lsn, lsn)
            self._runs.append(run)
            self._starts.append(lsn)
            self._closed = False
        if not run.lsns or lsn - run.lsns[-1] >= POINT_EVERY:
            run.lsns.append(lsn)
            run.offsets.append(offset)
        run.end = lsn + length

    def truncate(self, lsn: Lsn) -> None:
        """Forget all log at and above `lsn`."""
        self.cuts += 1
        self._hints.clear()
        self._closed = True  # what comes next stands behind the dead bytes
        while self._runs and self._runs[-1].start >= lsn:
            self._runs.pop()
            self._starts.pop()
        if self._runs:
            self._runs[-1].end = min(self._runs[-1].end, lsn)

    def live(self, file: int, offset: int, lsn: Lsn, upto: Lsn) -> Lsn:
        """Say up to where log [lsn, upto), in frames from `offset` of `file` on, counts: what is above is void."""
        at = bisect_right(self._starts, lsn) - 1
        run, behind = (self._runs[at], self._runs[at + 1 : at + 2]) if at >= 0 else (None, [])
        if run is None or run.file != file or run.offsets[0] > offset or lsn >= run.end:
            return lsn
        if behind and behind[0].file == file and behind[0].offsets[0] <= offset:
            return lsn
        return Lsn(min(upto, run.end))

    def forget(self, file: int, offset: int, end: int) -> None:
        """Remember no place within [offset, end) of `file` but its beginning: frames lie elsewhere there now."""
        self._hints.clear()
        for run in self._runs:
            if run.file == file:
                kept = [n for n, at in enumerate(run.offsets) if not offset < at < end]
                run.lsns, run.offsets = [run.lsns[n] for n in kept], [run.offsets[n] for n in kept]

    def hint(self, lsn: Lsn, place: Place) -> None:
        """Remember that scanning for `lsn` may begin at `place`.

        Whoever follows the log asks for it next; another run that begins at `lsn` lies elsewhere.
        """
        if len(self._hints) >= HINTS:
            self._hints.pop(next(iter(self._hints)))
        self._hints[lsn] = place

    def find(self, lsn: Lsn) -> Place:
        """Say where to read from `lsn` on; LogUnknown when that byte is not held."""
        at = bisect_right(self._starts, lsn) - 1
        if at < 0 or lsn >= self._runs[at].end:
            raise LogUnknown(f"log at {lsn} is not held")
        run = self._runs[at]
        hint = self._hints.get(lsn)
        if hint is not None and hint.run == run.start:
            return replace(hint, upto=Lsn(run.end))
        point = bisect_right(run.lsns, lsn) - 1
        return Place(
            run=Lsn(run.start),
            file=run.file,
            offset=run.offsets[point],
            lsn=Lsn(run.lsns[point]),
            upto=Lsn(run.end),
        )
