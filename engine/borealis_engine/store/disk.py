"""The few operations on a disk that the store needs, so that a double can tear, fill and fail it.

Invariant: nothing is durable before `File.sync` (its bytes) and `Disk.sync_directory` (its name) have returned.
Names are relative to the disk's root and use one level of folders at most. OSError is left to the caller.
"""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from borealis_engine.store import direct as past_cache
from borealis_engine.store.direct import EXHAUSTED, PAGE, Direct, write_all

Buffer: TypeAlias = past_cache.Buffer

_IOV_MAX = 512
_JOIN_BELOW = 64 * 1024
DIRECT_FROM = 512 * 1024  # bytes written through at once that go past the page cache: far more than a commit


class Unopened(OSError):
    """A file could not be opened for want of descriptors or memory: nothing was written, and the disk is sound."""


class File(Protocol):
    """An open file of a disk."""

    def write(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all of `buffers` one after another at `offset`."""

    def write_through(self, buffers: Sequence[Buffer], offset: int) -> None:
        """`write`, and make durable what was written (and the length, where it changed)."""

    def read(self, size: int, offset: int) -> bytes:
        """Read up to `size` bytes at `offset`; shorter only at the end of the file."""

    def read_through(self, size: int, offset: int) -> bytes:
        """`read` from the device rather than from memory, where that can be, and keep nothing of it in memory."""

    def size(self) -> int:
        """Give the length in bytes."""

    def truncate(self, size: int) -> None:
        """Cut to `size` bytes."""

    def sync(self) -> None:
        """Make the bytes durable (and the length, where it changed)."""

    def close(self) -> None:
        """Let go of it; closing twice is harmless."""

    def fileno(self) -> int:
        """Give the descriptor for who writes past this object; -1 if there is none."""


class Disk(Protocol):
    """A folder that holds one member of a volume."""

    def create(self, name: str) -> File:
        """Make an empty file, replacing one of that name; Unopened for want of a descriptor, as all that opens."""

    def open(self, name: str) -> File:
        """Open a file for reading and writing; FileNotFoundError if there is none."""

    def list(self, folder: str) -> list[str]:
        """Give the sorted names in `folder`, without the folder; none if there is no such folder."""

    def make_folder(self, folder: str) -> None:
        """Make a folder and its entry durable; harmless if it is there."""

    def rename(self, old: str, new: str) -> None:
        """Rename, replacing `new`."""

    def remove(self, name: str) -> None:
        """Remove a file."""

    def sync_directory(self, folder: str) -> None:
        """Make the names in `folder` ("" for the root) durable."""

    def free(self) -> int:
        """Give the bytes still free to this process."""


class RealFile:
    """A file of the operating system."""

    def __init__(self, fd: int, direct: Direct | None = None) -> None:
        self._fd = fd
        self._direct = direct

    def write_through(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write and flush, in one call of the system if it takes all at once; much of it past the page cache."""
        if self._direct is not None and sum(map(len, buffers)) >= DIRECT_FROM:
            self._direct.write(self._fd, buffers, offset)
            self.sync()
            return
        if len(buffers) > 1 and sum(map(len, buffers)) < _JOIN_BELOW:
            buffers = (b"".join(buffers),)
        if len(buffers) > 1 or os.pwritev(self._fd, buffers, offset, os.RWF_DSYNC) < len(buffers[0]):
            self.write(buffers, offset)
            self.sync()

    def write(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write everything, in as few calls as the system allows."""
        if len(buffers) > 1 and sum(map(len, buffers)) < _JOIN_BELOW:
            buffers = (b"".join(buffers),)
        for first in range(0, len(buffers), _IOV_MAX):
            offset = self._write_some(buffers[first : first + _IOV_MAX], offset)

    def _write_some(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write up to IOV_MAX buffers, going on after short writes; give the offset behind them."""
        total = sum(map(len, buffers))
        done = os.pwritev(self._fd, buffers, offset)
        if done < total:
            write_all(self._fd, memoryview(b"".join(buffers))[done:], offset + done)
        return offset + total

    def read(self, size: int, offset: int) -> bytes:
        """Read `size` bytes unless the file ends before."""
        data = os.pread(self._fd, size, offset)
        while data and len(data) < size:
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def read_through(self, size: int, offset: int) -> bytes:
        """Read what the device holds: pages that are not dirty leave the cache before and after."""
        start, length = offset - offset % PAGE, size + offset % PAGE
        os.posix_fadvise(self._fd, start, length, os.POSIX_FADV_DONTNEED)
        data = self.read(size, offset)
        os.posix_fadvise(self._fd, start, length, os.POSIX_FADV_DONTNEED)
        return data

    def size(self) -> int:
        """Give the length in bytes."""
        return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        """Cut to `size` bytes."""
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        """Flush with fdatasync, which flushes a changed length too."""
        os.fdatasync(self._fd)

    def fileno(self) -> int:
        """Give the descriptor; -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor once."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealDisk:
    """A folder of the operating system."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._direct = Direct()
        self._folders: dict[str, int] = {}  # descriptors, kept: a name that was given can always be made durable

    def __del__(self) -> None:
        for fd in self._folders.values():
            os.close(fd)

    def create(self, name: str) -> RealFile:
        """Make an empty file readable by this user alone."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return RealFile(_open(self._root / name, flags), self._direct)

    def open(self, name: str) -> RealFile:
        """Open an existing file."""
        return RealFile(_open(self._root / name, os.O_RDWR | os.O_CLOEXEC), self._direct)

    def list(self, folder: str) -> list[str]:
        """Give the sorted names of files in a folder."""
        path = self._root / folder
        return sorted(entry.name for entry in path.iterdir() if entry.is_file()) if path.is_dir() else []

    def make_folder(self, folder: str) -> None:
        """Make a folder, durable in its parent."""
        (self._root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sync_directory("")

    def rename(self, old: str, new: str) -> None:
        """Rename, replacing `new`."""
        os.rename(self._root / old, self._root / new)

    def remove(self, name: str) -> None:
        """Unlink a file."""
        os.unlink(self._root / name)

    def sync_directory(self, folder: str) -> None:
        """Flush the folder itself."""
        if folder not in self._folders:
            self._folders[folder] = _open(self._root / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(self._folders[folder])

    def free(self) -> int:
        """Give what statvfs says is available."""
        stat = os.statvfs(self._root)
        return stat.f_bavail * stat.f_frsize


def _open(path: Path, flags: int) -> int:
    """Open a file; a new one is readable by this user alone."""
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise Unopened(error.errno, error.strerror, str(path)) from error
        raise


class ReadOnlyFile(RealFile):
    """A file that was opened for reading: the system refuses to write it."""

    def __init__(self, fd: int, reading: Callable[[int], None]) -> None:
        super().__init__(fd)
        self._reading = reading

    def read(self, size: int, offset: int) -> bytes:
        """Read, and tell the offset up to which was read."""
        data = super().read(size, offset)
        self._reading(offset + len(data))
        return data


class ReadOnlyDisk(RealDisk):
    """A folder that is only looked at: what would change it is refused with EROFS, and files open for reading alone.

    `reading` hears, at every read, the name of the file and the offset up to which it was read.
    """

    def __init__(self, root: Path, reading: Callable[[str, int], None] = lambda name, upto: None) -> None:
        super().__init__(root)
        self._reading = reading

    def open(self, name: str) -> ReadOnlyFile:
        """Open an existing file for reading."""
        fd = _open(self._root / name, os.O_RDONLY | os.O_CLOEXEC)
        return ReadOnlyFile(fd, lambda upto: self._reading(name, upto))

    def create(self, name: str) -> RealFile:
        """Refuse."""
        raise _read_only(name)

    def make_folder(self, folder: str) -> None:
        """Refuse."""
        raise _read_only(folder)

    def rename(self, old: str, new: str) -> None:
        """Refuse."""
        raise _read_only(old)

    def remove(self, name: str) -> None:
        """Refuse."""
        raise _read_only(name)

    def sync_directory(self, folder: str) -> None:
        """Refuse."""
        raise _read_only(folder)


def _read_only(name: str) -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS), name)
