"""Verifying the files of an open store in small steps, and making damaged ones good in place.

What is damaged is worth nothing, so it is written over where it stands, and torn in the middle it is damaged still: a
crash leaves nothing that the next attempt cannot mend, and the file that is appended to needs no copy
(docs/decisions/013-damage-is-mended-in-place.md). Invariant: bytes that are whole are never touched, and what was
written is read back from the device before it counts as mended.
"""

import errno
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

from borealis_engine.core.journal import EMPTY
from borealis_engine.store import images
from borealis_engine.store.disk import Disk, File
from borealis_engine.store.errors import DiskCorrupt, DiskFailed, disk_errors
from borealis_engine.store.frames import FILE_HEADER, parse_header, render_header, scan
from borealis_engine.store.holes import STEP, Border, Piece
from borealis_engine.store.images import read_head
from borealis_engine.store.journal import Journal, Sizes
from borealis_engine.store.journal_file import FOLDER, SUFFIX, JournalFile, open_file
from borealis_engine.store.records import STATE
from borealis_engine.store.survey import Known, Source, Survey, beginning, forgiving, survey_files

TELL_EVERY: Final = 32 << 10  # bytes of small frames that are checked between two pauses


def check_file(file: JournalFile) -> Iterator[int]:
    """Verify a journal file up to its end as it is now, giving after each step its bytes; DiskCorrupt at damage."""
    header, end, number = file.header, file.end, file.header.number
    told, at, batch = 0, FILE_HEADER, header.first_batch
    try:
        if parse_header(file.bare.read_through(FILE_HEADER, 0)) != header:
            raise DiskCorrupt(f"journal file {number} has another's header")
        for frame in scan(file.bare.read_through, header.nonce, FILE_HEADER, end, window=STEP):
            if frame.batch != batch:
                break
            at, batch = frame.end, batch + frame.last
            if at - told >= TELL_EVERY:
                yield at - told
                told = at
    except OSError as error:
        raise DiskCorrupt(f"journal file {number} cannot be read at {at}: {error.strerror}") from error
    if at != end:
        raise DiskCorrupt(f"damage at {at} of journal file {number}")
    yield at - told


def check_image(disk: Disk, image: str) -> Iterator[int]:
    """Verify a blob likewise; FileNotFoundError if it is not there."""
    file = disk.open(f"{images.FOLDER}/{image}")
    try:
        read_head(file, image)
        digest, offset = hashlib.sha256(), 0
        while data := file.read_through(STEP, offset):
            digest.update(data)
            offset += len(data)
            yield len(data)
    except OSError as error:
        raise DiskCorrupt(f"image {image} cannot be read: {error.strerror}") from error
    finally:
        file.close()
    if digest.hexdigest() != image:
        raise DiskCorrupt(f"image {image} is damaged")


def survey_journal(journal: Journal, number: int) -> Survey:
    """Walk a file of an open journal, from the last state before it that is still readable; DiskCorrupt as there."""
    tail, files = journal.tail(), journal.files
    first = number
    while first > min(files) and not _begins(files[first]):
        first -= 1
    found, sources = Survey(), list[Source]()
    for at in range(first, number + 1):
        file, header = files[at], files[at].header
        source = Source(header=header, read=forgiving(file.bare), end=tail.end if at == tail.file else file.end)
        sources.append(source)
        try:
            sound = parse_header(source.read(FILE_HEADER, 0)) == header
        except DiskCorrupt:
            sound = False
        if not sound:
            found.known.append(Known(file=at, piece=Piece(offset=0, data=render_header(header))))
    last = tail.border if number == tail.file else _border(files[number + 1])
    survey_files(found, sources, last=last)
    return found


def _border(file: JournalFile) -> Border:
    source = Source(header=file.header, read=forgiving(file.bare), end=file.end)
    return beginning(source)


def _begins(file: JournalFile) -> bool:
    frame = next(scan(forgiving(file.bare), file.header.nonce, FILE_HEADER, file.end, window=STEP), None)
    return frame is not None and frame.kind == STATE


def open_damaged(disk: Disk, found: Survey, *, member: str) -> Journal:
    """Open a damaged journal to read what is whole of it, as a survey has `found` it; it takes nothing.

    Its reads verify all that they give: DiskCorrupt where it is damaged. DiskCorrupt at once if a file's header is.
    """
    files = dict[int, JournalFile]()
    for name in [name for name in disk.list(FOLDER) if name.endswith(SUFFIX)]:
        file = open_file(disk, name)
        file.end = file.filled  # a read looks no further than the index says, and takes whole frames alone
        files[file.header.number] = file
    state, batch = found.state or EMPTY, found.batch or 0
    journal = Journal(disk, member=member, sizes=Sizes(), files=files, state=state, index=found.index, batch=batch)
    journal.fail(OSError(errno.EROFS, "it is damaged, and only read"))
    return journal


def put(file: File, pieces: Sequence[Piece]) -> None:
    """Write what belongs where, durably, and see that it is there; DiskFailed if it is not.

    `file` was opened for it: an error of the disk that is told here stays to be told to who appends. Pieces that touch
    are written as one: a disk takes no part of a block that it cannot read.
    """
    with disk_errors("mending a damaged place"):
        if any(piece.recut for piece in pieces):
            _write(file, [replace(each, data=bytes(len(each.data))) if each.recut else each for each in pieces])
        _write(file, pieces)


def _write(file: File, pieces: Iterable[Piece]) -> None:
    joined = list[tuple[int, bytearray]]()
    for piece in sorted(pieces, key=attrgetter("offset")):
        if joined and joined[-1][0] + len(joined[-1][1]) == piece.offset:
            joined[-1][1].extend(piece.data)
        else:
            joined.append((piece.offset, bytearray(piece.data)))
    for offset, data in joined:
        file.write_through((data,), offset)
        if file.read_through(len(data), offset) != data:
            raise DiskFailed("mending a damaged place: the disk does not keep what is written there")
