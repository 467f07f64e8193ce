"""The errors of the store, by blame.

    StoreError
    ├── DiskFailed      a write or a sync failed: the store refuses everything from then on
    │   └── DiskFull    for lack of room: may be opened anew when there is some
    ├── Exhausted       no descriptor or memory to open a file, before a byte was written: may be tried again
    ├── DiskCorrupt     what was durable is not what is read now
    │   └── LogDamaged  in journal file `file`
    ├── DiskLost        an empty disk although this member was formatted before
    ├── DiskForeign     the disk of another member, cluster or format
    ├── DiskUnreadable  no disk of a storage node, or one that may not be looked at
    ├── LogUnknown      asked for log that this node does not hold (any more)
    └── ImageUnknown    asked for an image that this node does not hold

Foreign errors (OSError) are mapped here once, by `disk_errors`.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from borealis_engine.contract.status import DISK_FULL
from borealis_engine.store.disk import Unopened

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_LOST = {errno.ENOENT, errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA}  # these bytes are lost, not the disk


class StoreError(Exception):
    """Any error of the store."""


class DiskFailed(StoreError):
    """A write or a sync failed."""


class DiskFull(DiskFailed):
    """There was no room for a write."""


class Exhausted(StoreError):
    """A file could not be opened for want of descriptors or memory."""


class DiskCorrupt(StoreError):
    """What was durable is not what is read now."""


class LogDamaged(DiskCorrupt):
    """Log that was durable is damaged, or cannot be read."""

    def __init__(self, lsn: int, file: int) -> None:
        super().__init__(f"log at {lsn} in journal file {file} is damaged")
        self.file = file


class DiskLost(StoreError):
    """An empty disk although this member was formatted before."""


class DiskForeign(StoreError):
    """The disk of another member, cluster or format."""


class DiskUnreadable(StoreError):
    """No disk of a storage node, or one that may not be looked at; the message names the path and the remedy."""


class LogUnknown(StoreError):
    """Asked for log that this node does not hold."""


class ImageUnknown(StoreError):
    """Asked for an image that this node does not hold, or sent one whose digest is wrong."""


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Map OSError to DiskFailed (a full disk is named as such), or to Exhausted."""
    try:
        yield
    except OSError as error:
        raise disk_failed(what, error) from error


@contextmanager
def reading(what: str) -> Iterator[None]:
    """`disk_errors`, but DiskCorrupt for what a medium says of bytes that it has lost."""
    with disk_errors(what):
        try:
            yield
        except OSError as error:
            if error.errno not in _LOST:
                raise
            raise DiskCorrupt(f"{what} cannot be read: {error.strerror}") from error


def disk_failed(what: str, error: OSError) -> DiskFailed | Exhausted:
    """Give the error of the store for an OSError, with a full disk named as such."""
    if isinstance(error, Unopened) or error.errno in (errno.EMFILE, errno.ENFILE):
        return Exhausted(f"{what}: {error.strerror}")
    if error.errno in NO_ROOM:
        return DiskFull(f"{what}: {DISK_FULL}")
    return DiskFailed(f"{what}: {error.strerror or error}")
