"""Stretches of a journal file in which no whole frame stands, and what must have stood there.

A hole may be filled in place with log from a peer if that leaves the journal saying what it said. Two things prove it:
a head that is left says what its frame was, and its CRC that the peer's bytes are the very same; or the sizes say
that the hole held nothing but log: a frame costs `FRAME.size` bytes, each batch has one at least, and a record
of promise, history or D has a payload of its own, so `bytes - log == FRAME.size * batches` leaves room for none. How
the log was cut into frames is not known then and does not matter. Invariant: what neither proves is never filled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from borealis_engine.contract.volume import Lsn
from borealis_engine.store.frames import FRAME, LAST, Frame, ReadAt, find_later, render_frame, scan
from borealis_engine.store.records import ENTERED, LOGGED, PIECE

STEP: Final = 256 << 10  # bytes read at once when a file is walked


class Border(NamedTuple):
    """Between two frames: the batch of the next one, and where the log stands (None: not known)."""

    batch: int
    lsn: Lsn | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """No whole frame stands in [offset, end)."""

    offset: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A frame of log that is to be written: `crc` is what its head says, None if that is lost too."""

    batch: int
    last: bool
    lsn: Lsn
    length: int
    crc: int | None


Reading: TypeAlias = tuple[Lost, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """[offset, end) of journal file `file` held the log [lsn, upto), in one of these readings, the likeliest first."""

    file: int
    nonce: bytes
    offset: int
    end: int
    lsn: Lsn
    upto: Lsn
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes to be written at `offset`; `recut`: not cut into frames as what stood there was.

    What is left of the old frames has to be gone before those are written: a crash must leave no mixture of two cuts.
    """

    offset: int
    data: bytes
    recut: bool = False


def walk(read: ReadAt, nonce: bytes, start: int, end: int, batch: int) -> Iterator[Frame | Gap]:
    """Give what stands in [start, end): whole frames, none of a batch below `batch`, and the gaps between them."""
    at = start
    while at < end:
        for frame in scan(read, nonce, at, end, window=STEP):
            yield frame
            at, batch = frame.end, frame.batch
        if at < end:
            later = find_later(read, nonce, at, end, batch - 1)
            stop = later.offset if later is not None else end
            yield Gap(offset=at, end=stop)
            at = stop


def border_at(read: ReadAt, nonce: bytes, start: int, end: int, last: Border | None) -> Border | None:
    """Give the border before the whole frame at `start`; None if there is none.

    `last` is the border at `end`, None if that is not known: records that move no log stand where that does.
    """
    batch, at, following = None, start, 0
    for frame in scan(read, nonce, start, end, window=STEP):
        batch = frame.batch if batch is None else batch
        if frame.kind == LOGGED:
            return Border(batch, frame.lsn)
        if frame.kind == ENTERED:
            return Border(batch, None)
        at, following = frame.end, frame.batch + frame.last
    if batch is None:
        return None
    return Border(batch, last.lsn if last is not None and (at, following) == (end, last.batch) else None)


def readings(data: bytes, nonce: bytes, here: Border, there: Border) -> tuple[Reading, ...]:
    """Say what can have stood in a gap that holds `data` now, between two borders; nothing if that cannot be told."""
    heads, at, behind = _by_heads(data, nonce, here)
    found = list[Reading]()
    if at == len(data):
        if behind.batch == there.batch and there.lsn in (None, behind.lsn):
            found.append(heads)
    elif heads and (rest := _by_size(len(data) - at, behind, there)):
        found.append((*heads, *rest))
    if whole := _by_size(len(data), here, there):
        found.append(whole)
    return tuple(found)


def fill(hole: Hole, log: bytes, *, live: Lsn, same: bool) -> list[Piece] | None:
    """Give what belongs into a hole; None if the log that came proves to be another.

    `log` is [hole.lsn, hole.upto): up to `live` it counts, above it is void (a truncation followed). `same`: it comes
    from a log that is known to be the same here; otherwise only the CRC of a head can prove it.
    """
    for reading in hole.readings:
        frames = [
            _render(lost, hole.nonce, log[lost.lsn - hole.lsn :][: lost.length], live, same=same) for lost in reading
        ]
        if all(frames):
            return _pieces(hole.offset, reading, frames)
    return None


def _pieces(offset: int, reading: Reading, frames: list[bytes | None]) -> list[Piece]:
    pieces = list[Piece]()
    for lost, data in zip(reading, frames, strict=True):
        pieces.append(Piece(offset=offset, data=data or b"", recut=lost.crc is None))
        offset += len(data or b"")
    return pieces


def _render(lost: Lost, nonce: bytes, payload: bytes, live: Lsn, *, same: bool) -> bytes | None:
    if len(payload) != lost.length:
        return None
    head, _ = render_frame(nonce, kind=LOGGED, last=lost.last, batch=lost.batch, lsn=lost.lsn, payload=payload)
    if lost.lsn < live:
        if lost.crc is not None and lost.lsn + lost.length <= live:
            return head + payload if FRAME.unpack(head)[1] == lost.crc else None
        if not same:
            return None
    return head + payload


def _by_heads(data: bytes, nonce: bytes, here: Border) -> tuple[Reading, int, Border]:
    """Follow the heads that are left, as long as each says what must be there; give where that ends."""
    found, at, (batch, lsn) = list[Lost](), 0, here
    while lsn is not None and at + FRAME.size <= len(data):
        mark, crc, length, kind, flags, reserved, number, start = FRAME.unpack_from(data, at)
        fits = 0 < length <= PIECE and at + FRAME.size + length <= len(data)
        if (
            (mark, kind, reserved, number, start) != (nonce, LOGGED, 0, batch, lsn)
            or flags not in (0, LAST)
            or not fits
        ):
            break
        found.append(Lost(batch=batch, last=bool(flags), lsn=lsn, length=length, crc=crc))
        at, batch, lsn = at + FRAME.size + length, batch + flags, Lsn(lsn + length)
    return tuple(found), at, Border(batch, lsn)


def _by_size(size: int, here: Border, there: Border) -> Reading:
    """Cut the log between two borders into a frame for each batch, if `size` bytes leave room for nothing else."""
    if here.lsn is None or there.lsn is None:
        return ()
    length, batches = there.lsn - here.lsn, there.batch - here.batch
    frames = max(1, batches)
    if batches < 0 or not frames <= length <= frames * PIECE or size - length != FRAME.size * frames:
        return ()
    cuts = [here.lsn + length * number // frames for number in range(frames + 1)]
    return tuple(
        Lost(batch=here.batch + n, last=batches > 0, lsn=Lsn(cuts[n]), length=cuts[n + 1] - cuts[n], crc=None)
        for n in range(frames)
    )
