"""One process to a disk: a lock that lives as long as the process, taken before anything there is read or written.

It is flock(2) on a file in the data folder: the kernel lets go of it when the process ends, however it ends, and on a
shared claim it holds between machines as far as the file system locks there (NFS does). What the file says is for
people alone.
"""

import fcntl
import os
from pathlib import Path

FILE = "lock"
_LONGEST = 1024  # bytes of what a holder says of itself


class DiskInUse(Exception):
    """Another process holds the disk; the message is what that one said of itself."""


class DiskLock:
    """The lock of one data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._fd = -1

    def take(self, holder: str) -> None:
        """Take it for `holder`, unless it is held here already; DiskInUse, or OSError if the disk cannot be locked."""
        if self._fd >= 0:
            return
        self._data.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._data / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, holder.encode()[:_LONGEST], 0)
        except BlockingIOError as error:
            said = os.pread(fd, _LONGEST, 0).decode(errors="replace")
            os.close(fd)
            raise DiskInUse(said or "a process that has not said who it is") from error
        except OSError:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Let go of it: for tests; a process does so by ending."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
