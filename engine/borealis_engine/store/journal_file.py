"""One file of the journal: appended by one thread, filled with zeros ahead by another, read by any, mended by one more.

Zeros are written ahead so that a sync of appended bytes finds the file's blocks allocated and its length unchanged:
it then costs one device flush and no metadata. Invariants: zeros are never written over appended bytes (the lock
and `filled`); and whoever syncs does so on an open file description of its own, for Linux tells of bytes that it failed
to write once to each: an error told to who fills ahead would be hidden from who acknowledges.
"""

import threading
from collections.abc import Sequence

from borealis_engine.store.disk import Buffer, Disk, File, Unopened
from borealis_engine.store.errors import NO_ROOM, DiskCorrupt, disk_errors
from borealis_engine.store.frames import FILE_HEADER, FileHeader, parse_header, render_header

FOLDER = "journal"
SUFFIX = ".log"


class JournalFile:
    """An open journal file whose whole batches end at `end`."""

    def __init__(self, disk: Disk, file: File, header: FileHeader, end: int) -> None:
        """`file` is for who appends, also past this object (`fileno`), and for who reads."""
        self._disk = disk
        self._file = file
        self._ahead: File | None = None  # for who fills
        self._filling = False
        self._lock = threading.Lock()
        self.filled = file.size()  # its length: up to there it is written, with zeros beyond the end
        self._sealed = False
        self.bare = file  # for those who verify it
        self.header = header
        self.end = end

    def append(self, buffers: Sequence[Buffer], size: int) -> int:
        """Write and sync buffers of `size` bytes together; give the offset of the first.

        On OSError the file must not be used any more.
        """
        offset = self.end
        if offset + size > self.filled:
            with self._lock:
                self._file.write_through(buffers, offset)
                self.filled = max(self.filled, offset + size)
        else:
            self._file.write_through(buffers, offset)
        self.end = offset + size
        return offset

    def fill(self, size: int) -> bool:
        """Write and sync `size` zeros behind what is filled, unless it is sealed; False: no descriptor, or no room.

        Zeros that find no room lose nothing: what they were for is not appended yet.
        """
        with self._lock:
            if self._sealed:
                return True
            try:
                ahead = self._ahead = self._ahead or self.reopen()
            except Unopened:
                return False
            try:
                ahead.write((bytes(size),), self.filled)
            except OSError as error:
                if error.errno in NO_ROOM:
                    return False
                raise
            self.filled += size
            self._filling = True
        try:
            ahead.sync()
        finally:
            with self._lock:
                self._filling = False
                self._let_go()
        return True

    def _let_go(self) -> None:
        """Close what is filled by once it is of no use; under the lock."""
        if self._sealed and not self._filling and self._ahead is not None:
            self._ahead.close()

    def reopen(self) -> File:
        """Open it anew, with a description of its own; OSError if that cannot be."""
        return self._disk.open(file_name(self.header.number))

    def seal(self) -> None:
        """Cut what was filled ahead; nothing is appended any more."""
        with self._lock:
            self._sealed = True
            self._file.truncate(self.end)
            self.filled = self.end
            self._let_go()
        self._file.sync()

    def cut(self) -> None:
        """Drop whatever stands behind the end, durably."""
        with self._lock:
            self._file.truncate(self.end)
            self.filled = self.end
        self._file.sync()

    def sync(self) -> None:
        """Make what was found in the file durable before anything of it is reported."""
        self._file.sync()

    def fileno(self) -> int:
        """Give the descriptor; -1 if there is none."""
        return self._file.fileno()

    def affirm(self, offset: int) -> None:
        """Write again, and sync, what stands from `offset` to the end.

        A sync that failed leaves pages that look written and are not; only those written anew are synced for sure.
        """
        self._file.write_through((self._file.read(self.end - offset, offset),), offset)

    def read(self, size: int, offset: int) -> bytes:
        """Read, mapping errors of the disk."""
        with disk_errors(f"read of journal file {self.header.number}"):
            return self._file.read(size, offset)

    def close(self) -> None:
        """Close the file, after a fill that may be under way."""
        with self._lock:
            self._sealed = True
            self._file.close()
            self._let_go()


def file_name(number: int) -> str:
    """Give the name of the journal's file `number`, below the root."""
    return f"{FOLDER}/{number:016d}{SUFFIX}"


def begin_file(disk: Disk, header: FileHeader) -> File:
    """Open an empty file for `create_file`; Unopened if that cannot be done for now."""
    return disk.create(f"{file_name(header.number)}.new")


def create_file(disk: Disk, file: File, header: FileHeader, first: Sequence[Buffer]) -> JournalFile:
    """Have an empty file begin with the batch `first`; it has its name only once all of that is durable."""
    name = file_name(header.number)
    head = render_header(header)
    file.write((head, *first), 0)
    file.sync()
    disk.rename(f"{name}.new", name)
    disk.sync_directory(FOLDER)
    return JournalFile(disk, file, header, FILE_HEADER + sum(map(len, first)))


def open_file(disk: Disk, name: str) -> JournalFile:
    """Open a file by its name below FOLDER, with its end still to be found; DiskCorrupt if its header is damaged."""
    with disk_errors(f"open of journal file {name}"):
        file = disk.open(f"{FOLDER}/{name}")
        header = parse_header(file.read(FILE_HEADER, 0))
    if f"{header.number:016d}{SUFFIX}" != name:
        raise DiskCorrupt(f"journal file {name} says that it is number {header.number}")
    return JournalFile(disk, file, header, FILE_HEADER)
