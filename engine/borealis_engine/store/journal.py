"""The journal: what this member has promised and written, appended and synced before anyone hears of it.

Nothing is overwritten in place. `append` makes all its records durable with one write and one sync, or fails for
good: after a failed write or sync the journal refuses everything, because what the disk holds is not known any more.
What is open to `read` was synced. One thread appends, another fills ahead, any may read.
"""

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.journal import DurableState, Logged, Record, apply
from borealis_engine.store.disk import Buffer, Disk, Unopened
from borealis_engine.store.errors import DiskFailed, LogDamaged, LogUnknown, StoreError, disk_failed
from borealis_engine.store.frames import FRAME, WINDOW, FileHeader, render_frame, scan
from borealis_engine.store.holes import Border, Hole
from borealis_engine.store.index import LogIndex, Place
from borealis_engine.store.journal_file import JournalFile, begin_file, create_file
from borealis_engine.store.records import LOGGED, PIECE, Part, parts, render_batch, render_state

T = TypeVar("T")
NONCE = 4
SLACK = 16 * 1024  # for heads of frames and records between those of the log


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes: of a file before the next one begins, filled ahead at least, filled in one go."""

    file: int = 64 << 20
    ahead: int = 8 << 20
    step: int = 1 << 20


class Tail(NamedTuple):
    """The file that is appended to, the end of what was synced there, and the border behind it."""

    file: int
    end: int
    border: Border


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Where the next frame belongs: in which file, at which offset, up to which it may reach; the last batch."""

    descriptor: int
    nonce: bytes
    end: int
    limit: int
    batch: int


class Journal:
    """An open journal; `recovery.open_journal` makes one."""

    def __init__(
        self,
        disk: Disk,
        *,
        member: str,
        sizes: Sizes,
        files: dict[int, JournalFile],
        state: DurableState,
        index: LogIndex,
        batch: int,
    ) -> None:
        self._disk = disk
        self._member = member
        self._sizes = sizes
        self._files = files
        self._state = state
        self._index = index
        self._batch = batch  # number of the last batch written
        self._lock = threading.Lock()  # guards index and state between the appender and readers
        self._failed = ""
        self.strained = ""  # why the last file grows beyond its size
        self._last = files[max(files)]  # the file that is appended to

    @property
    def state(self) -> DurableState:
        """Give what is durable."""
        return self._state

    @property
    def failed(self) -> str:
        """Say why the journal refuses everything; empty while it works."""
        return self._failed

    @property
    def bytes_used(self) -> int:
        """Give the length of all files, with what is filled ahead."""
        return sum(file.filled for file in list(self._files.values()))  # the appender may begin a file meanwhile

    @property
    def ahead(self) -> int:
        """Give the bytes that are filled ahead: room that is taken already."""
        last = self._last
        return max(0, last.filled - last.end)

    @property
    def wants_fill(self) -> bool:
        """Tell whether `fill` has something to do."""
        last, filled = self._last, self._last.filled
        return filled - last.end < self._sizes.ahead and filled < self._sizes.file and not self._failed

    @property
    def files(self) -> dict[int, JournalFile]:
        """Give the files by their numbers."""
        return dict(self._files)

    def tail(self) -> Tail:
        """Say where the file ends that is appended to.

        Asked for while an append ends, `border` may be behind `end`: then the sizes of a hole there prove nothing.
        """
        batch, flush = self._batch, self._state.flush
        last = self._last
        return Tail(file=last.header.number, end=last.end, border=Border(batch + 1, flush))

    def live(self, hole: Hole) -> Lsn:
        """Say up to where the log of a hole counts; above it a truncation made it void."""
        with self._lock:
            return self._index.live(hole.file, hole.offset, hole.lsn, hole.upto)

    def recut(self, hole: Hole) -> None:
        """Hear that frames lie elsewhere in a hole now."""
        with self._lock:
            self._index.forget(hole.file, hole.offset, hole.end)

    def append(self, records: Sequence[Record]) -> None:
        """Make the records durable together; DiskFailed now and ever after if that does not succeed."""
        if not records:
            return
        state, frames, notes, size = self._state, list[Part](), list[tuple[Record, DurableState, int]](), 0
        for record in records:
            notes.append((record, state, size))
            for frame in parts(record):
                frames.append(frame)
                size += FRAME.size + len(frame[2])
            state = apply(state, record)
        number, offset = self._write(frames, size)
        with self._lock:
            for record, before, at in notes:
                self._index.note(record, before, number, offset + at)
            self._state = state

    def extend(self, lsn: Lsn, data: Buffer, state: DurableState) -> None:
        """`append` one piece of log at the end, no longer than a frame: the common case, at a fraction.

        `state` is the one with it.
        """
        last, size = self._last, FRAME.size + len(data)
        if self._failed or last.end + size > self._sizes.file or len(data) > PIECE:
            self.append((Logged(lsn=lsn, data=bytes(data)),))
            return
        head, _ = render_frame(last.header.nonce, kind=LOGGED, last=True, batch=self._batch + 1, lsn=lsn, payload=data)
        try:
            offset = last.append((head + data,), size)
        except BaseException as error:
            self._fail(error)
            raise
        self._batch += 1
        with self._lock:
            self._index.add(lsn, len(data), last.header.number, offset)
            self._state = state

    def frontier(self) -> Frontier | None:
        """Say where the next frame of log belongs, for who writes it past the journal; None if nobody may."""
        last, descriptor = self._last, self._last.fileno()
        if self._failed or descriptor < 0:
            return None
        limit = min(last.filled, self._sizes.file)
        return Frontier(descriptor=descriptor, nonce=last.header.nonce, end=last.end, limit=limit, batch=self._batch)

    def advance(self, frames: Sequence[tuple[Lsn, int]], state: DurableState, *, end: int, batch: int) -> None:
        """Take what was written at the `frontier` and is durable there: the log up to `state.flush`.

        `frames` are LSN and offset of the first frame, and of later ones some way apart; `end` and `batch` follow.
        """
        last, ends = self._last, [*(lsn for lsn, _ in frames[1:]), state.flush]
        last.end, self._batch = end, batch
        with self._lock:
            for (lsn, offset), upto in zip(frames, ends, strict=True):
                self._index.add(lsn, upto - lsn, last.header.number, offset)
            self._state = state

    def fail(self, error: OSError) -> StoreError:
        """Refuse everything from here on, for what was written past the journal failed; give the reason."""
        failed = disk_failed("append to the journal", error)
        self._failed = str(failed)
        return failed

    def read(self, start: Lsn, upto: Lsn, *, limit: int = PIECE) -> bytes:
        """Give log from `start` up to `upto`, at most `limit` bytes and at least one, verified.

        LogUnknown if `start` is not held (or was truncated meanwhile); DiskCorrupt if what is held is damaged.
        """
        if upto <= start:
            return b""
        with self._lock:
            place = self._index.find(start)
            cuts, file = self._index.cuts, self._files[place.file]
        end = Lsn(min(upto, start + limit, place.upto))
        try:
            pieces, behind = _collect(file, place, start, end)
        except DiskFailed as error:
            raise LogDamaged(start, place.file) from error
        with self._lock:
            if self._index.cuts != cuts:
                raise LogUnknown(f"log at {start} was truncated while it was read")
            self._index.hint(end, behind)
        return b"".join(pieces)

    def fill(self) -> bool:
        """Write one step of zeros ahead; DiskFailed, for good, if that fails. False: no room or descriptor for now."""
        last = self._last
        try:
            return last.fill(min(self._sizes.step, max(0, self._sizes.file - last.filled)))
        except OSError as error:
            failed = disk_failed("filling the journal ahead", error)
            self._failed = str(failed)
            raise failed from error

    def close(self) -> None:
        """Close all files; what was not appended is not there."""
        self._failed = self._failed or "closed"
        for file in self._files.values():
            file.close()

    def _write(self, frames: Sequence[Part], size: int) -> tuple[int, int]:
        """Write and sync one batch; give the number of its file and its offset there."""
        if self._failed:
            raise DiskFailed(self._failed)
        last = self._trying(lambda: self._file_for(size))
        buffers = render_batch(last.header.nonce, self._batch + 1, frames)
        offset = self._trying(lambda: last.append(buffers, size))
        self._batch += 1
        return last.header.number, offset

    def _trying(self, work: Callable[[], T]) -> T:
        """Do something with the disk; if that fails, refuse everything from here on."""
        try:
            return work()
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        """Refuse everything from here on; DiskFailed if it was the disk."""
        self._failed = str(error) or type(error).__name__
        if isinstance(error, OSError):
            failed = disk_failed("append to the journal", error)
            self._failed = str(failed)
            raise failed from error

    def _file_for(self, size: int) -> JournalFile:
        """Give the file to append to: the next one if `size` bytes do not fit; the old one loses what it has ahead.

        While no descriptor can be had for the next one, the old one grows beyond its size.
        """
        old = self._last
        if old.end + size <= self._sizes.file or self._batch == old.header.first_batch:
            return old
        header = FileHeader(
            member=self._member,
            number=old.header.number + 1,
            first_batch=self._batch + 1,
            nonce=secrets.token_bytes(NONCE),
        )
        first = render_state(header.nonce, header.first_batch, self._state)
        try:
            bare = begin_file(self._disk, header)
        except Unopened as error:
            self.strained = f"no descriptor for the next journal file ({error.strerror}): the last one grows"
            return old
        self._files[header.number] = self._last = create_file(self._disk, bare, header, first)
        self.strained = ""
        self._batch += 1
        old.seal()
        return self._last


def _collect(file: JournalFile, place: Place, start: Lsn, end: Lsn) -> tuple[list[memoryview], Place]:
    """Give the verified bytes of [start, end) from one file, and where the byte behind them is found."""
    pieces, at = list[memoryview](), int(start)
    window = min(end - place.lsn + SLACK, WINDOW)
    for frame in scan(file.read, file.header.nonce, place.offset, file.end, window=window):
        if frame.kind != LOGGED or frame.lsn + len(frame.payload) <= at:
            continue
        if frame.lsn > at:
            break
        piece = frame.payload[at - frame.lsn : end - frame.lsn]
        pieces.append(piece)
        at += len(piece)
        if at >= end:
            whole = frame.lsn + len(frame.payload) == end
            offset, lsn = (frame.end, end) if whole else (frame.offset, frame.lsn)
            return pieces, replace(place, offset=offset, lsn=lsn)
    raise LogDamaged(at, file.header.number)
