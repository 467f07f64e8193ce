"""Writing much at once past the page cache (O_DIRECT).

What a member catches up on is read by nobody soon: in the cache it would push out what others read, and to find memory
for it costs more than to write it. Only whole pages go past the cache; the bytes before and behind them share theirs
with other bytes and go through it. A file system that cannot do this is written as ever. Nothing is durable before a
sync, as everywhere.
"""

import errno
import mmap
import os
import threading
from collections.abc import Sequence
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

PAGE: Final = 4096
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # nothing was opened, for want of something
AREA: Final = 4 << 20  # bytes of the aligned memory from which is written


class Direct:
    """The aligned memory of one disk; any thread may write by it, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._area = memoryview(mmap.mmap(-1, AREA))  # which begins at a page's border, and costs nothing unused
        self._refused = False

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all of `buffers`, more than a page, one after another at `offset` of an open file."""
        with self._lock:
            past = self._reopened(fd)
            try:
                self._write(fd, past, buffers, offset)
            finally:
                if past >= 0:
                    os.close(past)

    def _write(self, fd: int, past: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Fill the area, which mirrors the file from a page's border on, and empty it into the file."""
        first = used = offset % PAGE
        base = offset - first
        for buffer in buffers:
            rest = memoryview(buffer).cast("B")
            while rest:
                size = min(len(rest), AREA - used)
                self._area[used : used + size] = rest[:size]
                used, rest = used + size, rest[size:]
                if used == AREA:
                    self._empty(fd, past, base, first, used)
                    base, first, used = base + used, 0, 0
        if used > first:
            self._empty(fd, past, base, first, used)

    def _empty(self, fd: int, past: int, base: int, first: int, used: int) -> None:
        start, stop = min(-(-first // PAGE) * PAGE, used), max(used - used % PAGE, first)
        write_all(fd, self._area[first:start], base + first)
        if start < stop:
            self._pages(fd, past, self._area[start:stop], base + start)
        write_all(fd, self._area[max(start, stop) : used], base + max(start, stop))

    def _pages(self, fd: int, past: int, pages: memoryview, offset: int) -> None:
        done = 0
        if past >= 0:
            try:
                done = os.pwrite(past, pages, offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._refused = True
        write_all(fd, pages[done:], offset + done)

    def _reopened(self, fd: int) -> int:
        """Give another descriptor of the file, past the cache; -1 if the file system has none, or the process."""
        try:
            return -1 if self._refused else os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in EXHAUSTED:
                return -1  # this time: nothing was written, and the cache needs no descriptor
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # ENOENT: no /proc here
                raise
            self._refused = True
            return -1


def write_all(fd: int, data: memoryview, offset: int) -> None:
    """Write through the page cache, going on after short writes."""
    while data:
        done = os.pwrite(fd, data, offset)
        data, offset = data[done:], offset + done
