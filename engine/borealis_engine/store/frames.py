"""Bytes of a journal file: its header, its frames, and the scan that finds where it ends.

A file begins with a header that names the member, the file's number, the first batch in it and a nonce. Frames follow:
nonce, CRC-32C, length, kind, flags, batch number, LSN, payload. Frames of one batch are made durable together; the
last one says so. What stands behind the last whole batch is its torn successor or zeros, and nothing else: a frame of
a *later* batch behind a broken one means that durable bytes were damaged (DiskCorrupt), since batch n+1 is
written only after batch n was synced. The nonce is random for each file, so no payload can pass for a frame.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from crc32c import crc32c

from borealis_engine.contract.volume import Lsn
from borealis_engine.store.disk import Buffer
from borealis_engine.store.errors import DiskCorrupt

MAGIC: Final = b"borealis-journal-1\n"
FILE_HEADER: Final = 512  # bytes, zero-padded
FRAME: Final = struct.Struct("<4sIIBBHQQ")  # nonce, crc, length, kind, flags, reserved, batch, lsn
_UNCOVERED: Final = struct.Struct("<4sI")  # its parts that the CRC does not cover: nonce and CRC
_COVERED: Final = struct.Struct("<IBBHQQ")  # and those that it does
CRC_FROM: Final = _UNCOVERED.size
LAST: Final = 1  # flag: the batch ends here
MAX_PAYLOAD: Final = 8 << 20
WINDOW: Final = 4 << 20  # bytes read at once when scanning

ReadAt = Callable[[int, int], bytes]  # (size, offset) -> bytes, shorter at the end of the file only


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHeader:
    """What a journal file says of itself."""

    member: str
    number: int
    first_batch: int
    nonce: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame as found: `offset` is where it begins in its file, `end` where the next one would."""

    kind: int
    last: bool
    batch: int
    lsn: Lsn
    offset: int
    payload: memoryview

    @property
    def end(self) -> int:
        """Give the offset behind the frame."""
        return self.offset + FRAME.size + len(self.payload)


def render_header(header: FileHeader) -> bytes:
    """Give the FILE_HEADER bytes of a journal file."""
    body = json.dumps(
        {
            "member": header.member,
            "number": header.number,
            "firstBatch": header.first_batch,
            "nonce": header.nonce.hex(),
        }
    ).encode()
    text = MAGIC + body + b"\n"
    return (text + f"{crc32c(text):08x}\n".encode()).ljust(FILE_HEADER, b"\0")


def parse_header(data: bytes) -> FileHeader:
    """Read `render_header`; DiskCorrupt for anything else."""
    text, newline, crc = data.rstrip(b"\0").rstrip(b"\n").rpartition(b"\n")
    text += newline
    if not text.startswith(MAGIC) or crc != f"{crc32c(text):08x}".encode():
        raise DiskCorrupt("a journal file has no valid header")
    raw = json.loads(text[len(MAGIC) :])
    return FileHeader(
        member=raw["member"],
        number=raw["number"],
        first_batch=raw["firstBatch"],
        nonce=bytes.fromhex(raw["nonce"]),
    )


def render_frame(nonce: bytes, *, kind: int, last: bool, batch: int, lsn: int, payload: Buffer) -> tuple[bytes, Buffer]:
    """Give head and payload of a frame; the payload is not copied."""
    head = _COVERED.pack(len(payload), kind, LAST if last else 0, 0, batch, lsn)
    return _UNCOVERED.pack(nonce, crc32c(payload, crc32c(head))) + head, payload


def parse_frame(window: memoryview, at: int, nonce: bytes, offset: int) -> Frame | None:
    """Read the frame at `at` of the window, which stands at `offset` in the file; None unless it is whole and right."""
    if at + FRAME.size > len(window):
        return None
    found, crc, length, kind, flags, _, batch, lsn = FRAME.unpack_from(window, at)
    end = at + FRAME.size + length
    if found != nonce or length > MAX_PAYLOAD or end > len(window):
        return None
    if crc32c(window[at + CRC_FROM : end]) != crc:
        return None
    payload = window[at + FRAME.size : end]
    return Frame(kind=kind, last=bool(flags & LAST), batch=batch, lsn=Lsn(lsn), offset=offset + at, payload=payload)


def scan(read: ReadAt, nonce: bytes, start: int, end: int, *, window: int = WINDOW) -> Iterator[Frame]:
    """Give the frames from `start` to the first place where none stands whole and right, at most up to `end`.

    `window` is how many bytes are read at once; a frame that is longer is read again with enough.
    """
    base, at, view = start, 0, memoryview(b"")
    while True:
        frame = parse_frame(view, at, nonce, base)
        if frame is None:
            base, at = base + at, 0
            frame, view = _refill(read, nonce, base, end, window)
            if frame is None:
                return
        yield frame
        at = frame.end - base


def _refill(read: ReadAt, nonce: bytes, base: int, end: int, window: int) -> tuple[Frame | None, memoryview]:
    """Read on at `base`: a window, and if the frame there says that it is longer, all of it."""
    view = memoryview(read(max(0, min(window, end - base)), base))
    frame = parse_frame(view, 0, nonce, base)
    if frame is None and len(view) == window >= FRAME.size:
        size = FRAME.size + FRAME.unpack_from(view)[2]
        if window < size <= min(FRAME.size + MAX_PAYLOAD, end - base):
            view = memoryview(read(size, base))
            frame = parse_frame(view, 0, nonce, base)
    return frame, view


def find_later(read: ReadAt, nonce: bytes, start: int, end: int, batch: int) -> Frame | None:
    """Search behind a broken frame for a whole one of a batch later than `batch`."""
    base = start
    while base < end:
        window = memoryview(read(min(WINDOW + MAX_PAYLOAD + FRAME.size, end - base), base))
        data = bytes(window)
        at = data.find(nonce)
        while at >= 0:
            frame = parse_frame(window, at, nonce, base)
            if frame is not None and frame.batch > batch:
                return frame
            at = data.find(nonce, at + 1)
        base += WINDOW
    return None


def batches(frames: Iterator[Frame], first_batch: int) -> Iterator[Sequence[Frame]]:
    """Group frames into whole batches, numbered without a gap; an unfinished one at the end is left out.

    DiskCorrupt when whole frames do not follow each other as they were written.
    """
    expected, group = first_batch, list[Frame]()
    for frame in frames:
        if frame.batch != expected:
            raise DiskCorrupt(f"batch {frame.batch} at offset {frame.offset} where {expected} belongs")
        group.append(frame)
        if frame.last:
            yield group
            expected, group = expected + 1, []
