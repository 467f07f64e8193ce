"""Walking journal files that are damaged: what they say nonetheless, and what has to be written where to mend them.

Recovery refuses a damaged journal; a survey goes on behind each gap as if what must have stood there still stood
there, and notes it as a hole. It changes nothing on the disk and proves nothing by itself: what is filled is read by
recovery afterwards. Invariant: a gap that may have held a promise, a history or a D is DiskCorrupt, never a hole;
batches that were not finished, as a crash leaves them at the end, count for nothing.
"""

import errno
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.journal import EMPTY, DurableState, Record, apply
from borealis_engine.store.disk import Disk, File
from borealis_engine.store.errors import DiskCorrupt
from borealis_engine.store.frames import (
    FILE_HEADER,
    FRAME,
    FileHeader,
    Frame,
    ReadAt,
    parse_header,
    render_header,
    scan,
)
from borealis_engine.store.holes import Border, Gap, Hole, Piece, border_at, readings, walk
from borealis_engine.store.index import LogIndex
from borealis_engine.store.journal import NONCE
from borealis_engine.store.journal_file import FOLDER, SUFFIX, file_name
from borealis_engine.store.records import STATE, parse_record, parse_state, render_state

BLOCK: Final = 512  # what a disk cannot read is looked for in blocks of so many bytes


class Unsettled(DiskCorrupt):
    """Damage behind which nothing whole stands yet: it may be told when more was appended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Bytes of journal file `file` that are damaged, and known without any peer."""

    file: int
    piece: Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A journal file to walk: bytes from its header up to `end`."""

    header: FileHeader
    read: ReadAt
    end: int


@dataclass(slots=True, kw_only=True)
class Survey:
    """What was found: the state after the last whole batch (None: not known yet), where the log lies, the damage."""

    state: DurableState | None = None
    batch: int | None = None  # of the next frame
    index: LogIndex = field(default_factory=LogIndex)
    known: list[Known] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)

    @property
    def damaged(self) -> int:
        """Count the damaged places."""
        return len(self.known) + len(self.holes)


def survey_disk(disk: Disk, member: str) -> Survey:
    """Walk the whole journal of a disk that is not open; DiskCorrupt if it cannot be mended."""
    found, files = Survey(), list[File]()
    try:
        sources = list[Source]()
        for name in [name for name in disk.list(FOLDER) if name.endswith(SUFFIX)]:
            files.append(disk.open(f"{FOLDER}/{name}"))
            sources.append(_source(found, files[-1], name, member))
        survey_files(found, sources, last=None)
    finally:
        for file in files:
            file.close()
    return found


def survey_files(found: Survey, sources: Sequence[Source], *, last: Border | None) -> None:
    """Walk files that follow each other; `last` is where the last one ends, None if that is where it is torn."""
    if not sources:
        raise DiskCorrupt("the journal has no file")
    if found.state is None and sources[0].header.number == 1:
        found.state = EMPTY
    number, borders = sources[0].header.number, [*map(beginning, sources[1:]), last]
    for source, there in zip(sources, borders, strict=True):
        header = source.header
        if header.number != number or found.batch not in (None, header.first_batch):
            raise DiskCorrupt(f"journal file {header.number} is not the one that belongs here")
        _Walk(found, source, there).all()
        number += 1


def beginning(source: Source) -> Border:
    """Give where a file begins, with the end of the log before if its first record still says so."""
    frame = next(scan(source.read, source.header.nonce, FILE_HEADER, source.end), None)
    whole = frame is not None and frame.kind == STATE
    return Border(source.header.first_batch, frame.lsn if whole and frame is not None else None)


def forgiving(file: File) -> ReadAt:
    """Read a file with chance in the place of what the disk cannot give: no frame will be found there."""

    def read(size: int, offset: int) -> bytes:
        try:
            return file.read(size, offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        pieces, at, end = list[bytes](), offset, min(offset + size, file.size())
        while at < end:
            step = min(BLOCK - at % BLOCK, end - at)
            try:
                pieces.append(file.read(step, at))
            except OSError:
                pieces.append(secrets.token_bytes(step))
            at += step
        return b"".join(pieces)

    return read


def _source(found: Survey, file: File, name: str, member: str) -> Source:
    """Open a file for the walk; a header that is lost follows from name, member and its first frames."""
    read, end = forgiving(file), file.size()
    try:
        header = parse_header(read(FILE_HEADER, 0))
    except DiskCorrupt:
        if not name.removesuffix(SUFFIX).isdigit():
            raise
        number = int(name.removesuffix(SUFFIX))
        header = _lost_header(read, end, member=member, number=number)
        found.known.append(Known(file=number, piece=Piece(offset=0, data=render_header(header))))
    if header.member != member or file_name(header.number) != f"{FOLDER}/{name}":
        raise DiskCorrupt(f"journal file {name} is another's")
    return Source(header=header, read=read, end=end)


def _lost_header(read: ReadAt, end: int, *, member: str, number: int) -> FileHeader:
    """Give the header that a file had, by its first two frames; DiskCorrupt without them.

    No checksum covers a frame's nonce, and what damaged the header may have reached the first one's: only the second
    one's is believed. By a wrong nonce all that follows would look like a torn end.
    """
    first = next(scan(read, read(NONCE, FILE_HEADER), FILE_HEADER, end), None)
    if first is not None and first.kind == STATE:
        nonce = read(NONCE, first.end)
        second = next(scan(read, nonce, first.end, end), None)
        if second is not None and second.batch == first.batch + 1:
            return FileHeader(member=member, number=number, first_batch=first.batch, nonce=nonce)
    raise DiskCorrupt(f"the header of journal file {number} is lost, and no two frames behind it tell what it was")


class _Walk:
    """One file: `seen` runs ahead of the survey's state by the batch that is not finished."""

    def __init__(self, found: Survey, source: Source, there: Border | None) -> None:
        self._found, self._source, self._there = found, source, there
        self._seen = found.state or EMPTY
        self._batch = source.header.first_batch
        self._open = list[tuple[Record, DurableState, int] | Hole]()

    def all(self) -> None:
        """Walk from the first frame to the end."""
        source = self._source
        for item in walk(source.read, source.header.nonce, FILE_HEADER, source.end, self._batch):
            match item:
                case Frame():
                    self._frame(item)
                case Gap():
                    if not self._gap(item):
                        break
        self._found.batch = self._batch

    def _frame(self, frame: Frame) -> None:
        header = self._source.header
        if frame.batch != self._batch:
            raise DiskCorrupt(f"batch {frame.batch} at {frame.offset} of journal file {header.number} is not the next")
        if frame.batch == header.first_batch:
            repeated = parse_state(frame)
            if self._found.state not in (None, repeated):
                raise DiskCorrupt(f"journal file {header.number} does not continue the one before")
            self._seen = self._found.state = repeated
        else:
            record = parse_record(frame)
            self._open.append((record, self._seen, frame.offset))
            try:
                self._seen = apply(self._seen, record)
            except SafetyViolated as error:
                raise DiskCorrupt(f"journal file {header.number} at {frame.offset}: {error}") from error
        if frame.last:
            self._batch += 1
            self._settle()

    def _settle(self) -> None:
        """Take over the batches that are whole, or must have been."""
        number, found = self._source.header.number, self._found
        for item in self._open:
            if isinstance(item, Hole):
                found.holes.append(item)
                at = item.offset
                for lost in item.readings[0]:
                    found.index.add(lost.lsn, lost.length, number, at)
                    at += FRAME.size + lost.length
            else:
                record, before, offset = item
                found.index.note(record, before, number, offset)
        self._open.clear()
        found.state = self._seen

    def _gap(self, gap: Gap) -> bool:
        """Say what must have stood in a gap; False if that is where the file ends."""
        source, number = self._source, self._source.header.number
        offset = self._repeat(gap) if self._batch == source.header.first_batch else gap.offset
        if offset == gap.end:
            return True
        behind = gap.end < source.end
        there, nonce = self._there, source.header.nonce
        if behind:
            there = border_at(source.read, nonce, gap.end, source.end, there)
        here = Border(self._batch, self._seen.flush)
        if there is None or (not behind and there == here):
            return False  # torn, or nothing but what was filled ahead
        found = readings(source.read(gap.end - offset, offset), nonce, here, there)
        if not found:
            kind = DiskCorrupt if behind else Unsettled
            raise kind(
                f"damage at {offset} of journal file {number}: no proof that no promise or history is lost with it"
            )
        upto = Lsn(found[0][-1].lsn + found[0][-1].length)
        self._open.append(
            Hole(file=number, nonce=nonce, offset=offset, end=gap.end, lsn=self._seen.flush, upto=upto, readings=found)
        )
        self._seen = self._seen.extended(upto - self._seen.flush)
        if there.batch > self._batch:
            self._settle()
        self._batch = there.batch
        return True

    def _repeat(self, gap: Gap) -> int:
        """Restore the state that a file begins with from the files before; give the offset behind it."""
        header, state = self._source.header, self._found.state
        if state is None:
            raise DiskCorrupt(f"the beginning of journal file {header.number} is lost, and what came before unknown")
        data = b"".join(render_state(header.nonce, header.first_batch, state))
        if gap.offset + len(data) > gap.end:
            raise DiskCorrupt(f"the beginning of journal file {header.number} is not the state before it")
        self._found.known.append(Known(file=header.number, piece=Piece(offset=gap.offset, data=data)))
        self._batch += 1
        return gap.offset + len(data)
