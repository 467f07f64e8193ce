"""Where records end in PostgreSQL's WAL: to cut a reader's feed, and to find E when the log is recovered.

Nothing but page headers and record lengths is read (access/xlog_internal.h, access/xlogrecord.h, PostgreSQL 15 to
18): the end of what is *held* is persisted by the storage nodes and never guessed from here. The invariant: an end
that is given out is the end of a record all of whose bytes were given in, as PostgreSQL itself counts it (8-byte
aligned; a record that fills its page ends at the boundary; a segment switch ends where its segment does).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Lsn, format_lsn
from borealis_engine.core.tail import LogEnd

PAGE: Final = 8192
MAGICS: Final = {0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}  # XLOG_PAGE_MAGIC: PostgreSQL major
SHORT_HEADER: Final = 24  # SizeOfXLogShortPHD
LONG_HEADER: Final = 40  # SizeOfXLogLongPHD, at the start of each segment
RECORD_HEADER: Final = 24  # SizeOfXLogRecord
FIRST_IS_CONTRECORD: Final = 0x0001
RM_XLOG: Final = 0
XLOG_SWITCH: Final = 0x40
XLOG_END_OF_RECOVERY: Final = 0x90
INFO_MASK: Final = 0xF0  # the part of xl_info that belongs to the resource manager

_PAGE_HEADER: Final = struct.Struct("=HHIQI")  # magic, info, tli, pageaddr, rem_len
_LENGTH: Final = struct.Struct("=I")


class WalMalformed(ValueError):
    """The bytes are not the WAL that should be at this place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One complete record: [start, end) in LSNs, with its resource manager and masked info."""

    start: Lsn
    end: Lsn
    rmgr: int
    info: int


class RecordScanner:
    """Follows the end of the last complete record in WAL that is fed in from the start of a page.

    Memory: the last two pages and what one call brings. A call that brings whole pages looks at the last ones only.
    """

    def __init__(self, start: Lsn, segment_size: int) -> None:
        if start % PAGE:
            raise ValueError(f"a scan begins at the start of a page, not at {format_lsn(start)}")
        self.end: Lsn = start  # end of the last complete record; before the first one, the start
        self.fed: Lsn = start
        self._window = _Window(base=start, segment_size=segment_size)
        self._void_until = start  # behind a segment switch there are zeros up to here

    def receive_data(self, data: bytes | memoryview) -> Lsn:
        """Take the next bytes and give the end of the last complete record."""
        self._window.data += data
        self.fed = self._window.upto
        if self.fed > self._void_until:
            self._advance()
        else:
            self.end = self.fed
        self._window.forget()
        return self.end

    def _advance(self) -> None:
        window = self._window
        boundary = max(self.end, self._void_until)
        if found := window.last_boundary(above=boundary, long=boundary < window.base):
            boundary = found
        elif boundary < window.base:
            return  # inside a record longer than all that is remembered
        for record in window.records(boundary):
            boundary = record.end
        self._void_until = boundary
        self.end = min(boundary, self.fed)


def find_end(start: Lsn, tail: bytes | memoryview, segment_size: int) -> LogEnd | None:
    """Find E from the last bytes of a log that is held up to their end; `start` begins a page.

    After a segment switch `padding` tells how many zero bytes are missing up to E. None: no record ends in these
    bytes, a long one began earlier, or the end of one is all they hold, so little that it may be a switch; ask again
    from further back.
    """
    if start % PAGE:
        raise ValueError(f"a tail begins at the start of a page, not at {format_lsn(start)}")
    upto = Lsn(start + len(tail))
    window = _Window(base=start, segment_size=segment_size, data=bytearray(tail))
    boundary = window.last_boundary(above=Lsn(start - 1), long=False)
    if boundary is None:
        return None
    for record in window.records(boundary):
        boundary = record.end
    return LogEnd(end=boundary, padding=max(0, boundary - upto))


def records(data: bytes | memoryview, start: Lsn, boundary: Lsn, segment_size: int) -> Iterator[Record]:
    """Give the complete records from `boundary` on in `data`, which lies at `start`, the start of a page."""
    return _Window(base=start, segment_size=segment_size, data=bytearray(data)).records(boundary)


class _Window:
    """Contiguous WAL from the start of a page."""

    __slots__ = ("base", "data", "segment_size")

    def __init__(self, *, base: Lsn, segment_size: int, data: bytearray | None = None) -> None:
        self.base, self.segment_size = base, segment_size
        self.data = bytearray() if data is None else data

    @property
    def upto(self) -> Lsn:
        return Lsn(self.base + len(self.data))

    def forget(self) -> None:
        """Drop all but the page in progress and the one before, where a segment switch may begin that ends in this."""
        keep = ((len(self.data) - 1) // PAGE - 1) * PAGE
        if keep > 0:
            del self.data[:keep]
            self.base = Lsn(self.base + keep)

    def last_boundary(self, *, above: Lsn, long: bool) -> Lsn | None:
        """Give a place above `above` where a record ended, from the last page header that tells of one.

        `long`: the record at `above` began before these bytes, so it is none of the short ones.
        """
        page = Lsn(self.base + max(0, len(self.data) - 1) // PAGE * PAGE)
        while page >= self.base and page + PAGE > above:
            boundary = self._boundary_in(page, long=long and page == self.base)
            if boundary is not None and above < boundary:
                return boundary
            page = Lsn(page - PAGE)
        return None

    def records(self, boundary: Lsn) -> Iterator[Record]:
        """Walk complete records from `boundary`, the end of one; a switch's end may lie beyond the data."""
        while boundary < self.upto:
            record = self._record_after(boundary)
            if record is None:
                return
            yield record
            boundary = record.end

    def _boundary_in(self, page: Lsn, *, long: bool) -> Lsn | None:
        """Tell where the first record end at or after the start of `page` is; None if the data do not tell.

        The tail of a short record may be a segment switch's, whose end is that of the segment.
        """
        header = self._header(page)
        if header is None:
            return None
        size, remaining = header
        if not size:
            return self._segment_end(page)
        if not remaining:
            return page
        end = self._skip(Lsn(page + size), remaining)
        if end > self.upto:
            return None
        return end if long or remaining >= RECORD_HEADER else self._after_short(end)

    def _after_short(self, end: Lsn) -> Lsn | None:
        """Tell whether the record that ends at `end` was a switch, by what follows: the next record, or zeros."""
        follows = bytes(self.data[end - self.base :][: _LENGTH.size])
        if len(follows) < _LENGTH.size:
            return None
        return end if any(follows) else self._segment_end(end)

    def _header(self, page: Lsn) -> tuple[int, int] | None:
        """Give (size of the page header, bytes of a continued record); size 0 for a page of zeros."""
        size = SHORT_HEADER if page % self.segment_size else LONG_HEADER
        at = page - self.base
        if at + size > len(self.data):
            return None
        magic, info, _tli, address, remaining = _PAGE_HEADER.unpack_from(self.data, at)
        if magic == 0 and address == 0 and page % self.segment_size:
            return 0, 0
        if magic not in MAGICS or address != page:
            raise WalMalformed(f"no page header at {format_lsn(page)}: magic {magic:#06x}, {format_lsn(address)}")
        return size, remaining if info & FIRST_IS_CONTRECORD else 0

    def _record_after(self, boundary: Lsn) -> Record | None:
        start = boundary
        if boundary % PAGE == 0:
            header = self._header(boundary)
            if header is None:
                return None
            if not header[0]:
                raise WalMalformed(f"zeros at {format_lsn(boundary)}, where a record should begin")
            if header[1]:
                return None  # no boundary: the scan began inside a record
            start = Lsn(boundary + header[0])
        at = start - self.base
        if at + _LENGTH.size > len(self.data):
            return None
        (length,) = _LENGTH.unpack_from(self.data, at)
        if length < RECORD_HEADER:
            raise WalMalformed(f"a record of {length} bytes at {format_lsn(start)}")
        end = self._skip(start, length)
        if end > self.upto:
            return None
        kind = self._skip(start, 16, align=1)
        at = kind - self.base
        if kind % PAGE == 0:
            at += SHORT_HEADER if kind % self.segment_size else LONG_HEADER
        info, rmgr = self.data[at] & INFO_MASK, self.data[at + 1]
        if rmgr == RM_XLOG and info == XLOG_SWITCH:
            end = self._segment_end(end)
        return Record(start=start, end=end, rmgr=rmgr, info=info)

    def _skip(self, start: Lsn, length: int, align: int = 8) -> Lsn:
        """Give the end of `length` bytes of records from `start`, over page headers, also beyond the data.

        No loop over pages: a record may have 131,000 of them (XLogRecPtrToBytePos, XLogBytePosToEndRecPtr in xlog.c).
        """
        pages, first = self.segment_size // PAGE, PAGE - LONG_HEADER
        in_segment = first + (pages - 1) * (PAGE - SHORT_HEADER)
        segment, page, at = start // self.segment_size, start % self.segment_size // PAGE, start % PAGE
        before = first + (page - 1) * (PAGE - SHORT_HEADER) if page else 0
        place = segment * in_segment + before + at - (SHORT_HEADER if page else LONG_HEADER) + length
        segment, place = divmod(place, in_segment)
        if place < first:
            end = place + LONG_HEADER if place else 0
        else:
            page, place = divmod(place - first, PAGE - SHORT_HEADER)
            end = PAGE + page * PAGE + (place + SHORT_HEADER if place else 0)
        return Lsn(-(-(segment * self.segment_size + end) // align) * align)

    def _segment_end(self, lsn: Lsn) -> Lsn:
        """Give the end of the segment in which the byte before `lsn`, or at a page of zeros, lies."""
        return Lsn(-(-lsn // self.segment_size) * self.segment_size)
