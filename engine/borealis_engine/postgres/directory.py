"""A data directory made from image and log, to be thrown away afterwards.

The invariant: a directory carries `standby.signal` from before PostgreSQL's first start, and is started once: what a
process has run on is never started again, so no directory ever opens read-write but by promotion.
"""

import array
import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.messages import History
from borealis_engine.postgres import timelines
from borealis_engine.postgres.account import Account, make_private, own_name
from borealis_engine.postgres.binaries import Binaries
from borealis_engine.postgres.errors import AttachFailed
from borealis_engine.postgres.image import Image, segment_name, unpack
from borealis_engine.postgres.settings import Configuration, render_access, render_configuration, render_identities

STANDBY_SIGNAL: Final = "standby.signal"
WAL_DIRECTORY: Final = "pg_wal"
_CATALOG_VERSION_AT: Final = 12  # after system_identifier and pg_control_version (catalog/pg_control.h)
_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS (linux/fs.h)
_SET_FLAGS: Final = 0x40086602  # FS_IOC_SETFLAGS
_TOP: Final = 0x00020000  # FS_TOPDIR_FL


def lay_out(
    data: Path, *, image: Image, history: History, durable: Lsn, configuration: Configuration, binaries: Binaries,
    account: Account | None,
) -> None:  # fmt: skip
    """Make `data` a standby that starts at the image and follows the newest timeline at or below `durable`.

    Whatever was there is removed. AttachFailed if the image is of another PostgreSQL major.
    """
    description = image.head.description
    if description.major != binaries.major:
        raise AttachFailed(f"the volume is of PostgreSQL {description.major}, the programs here of {binaries.major}")
    discard(data)
    make_private(data, account)
    unpack(image, data)
    data.chmod(0o700)
    (data / STANDBY_SIGNAL).touch()
    configure(data, configuration, account=None)
    write_access(data)
    write_wal(data, image)
    refuse_base_backup(data, binaries.major)
    named = timelines.named_reigns(history, durable)
    write_histories(data, timelines.standby_files(named), account=None)


def configure(data: Path, configuration: Configuration, *, account: Account | None) -> None:
    """Put postgresql.conf into place, whole or not at all; a running PostgreSQL reads it when it is told to."""
    _put(data / "postgresql.conf", render_configuration(configuration).encode(), account)


def write_access(data: Path) -> None:
    """Say who may connect: this process's user as the superuser."""
    (data / "pg_hba.conf").write_text(render_access())
    (data / "pg_ident.conf").write_text(render_identities(own_name()))


def refuse_base_backup(data: Path, major: int) -> None:
    """Have BASE_BACKUP fail before it sends a byte of data: no privilege of PostgreSQL's guards it.

    It sends tablespaces before the main directory (perform_base_backup, basebackup.c), and users can make none.
    The one made here holds a file that PostgreSQL cannot read. Nothing else looks at files in it but by numbers.
    """
    (catalog,) = struct.unpack_from("<I", (data / "global" / "pg_control").read_bytes(), _CATALOG_VERSION_AT)
    inside = data / "no_base_backup" / f"PG_{major}_{catalog}"
    inside.mkdir(parents=True)
    (inside / "refused").touch(mode=0)
    (data / "pg_tblspc" / "1").symlink_to(inside.parent.resolve())


def write_histories(data: Path, files: Iterable[tuple[str, bytes]], *, account: Account | None) -> None:
    """Put history files into `pg_wal`, each whole or not at all; those that are there stay as they are.

    Empty ones are links to one file: there may be thousands, and PostgreSQL never writes into one in place.
    """
    blank: Path | None = None
    for name, content in files:
        target = data / WAL_DIRECTORY / name
        if target.exists():
            continue
        if content or blank is None or not _linked(blank, target):
            _put(target, content, account)
            blank = blank if content else target


def _linked(source: Path, target: Path) -> bool:
    """Link; False where the file system takes no more links to that file."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
            raise
        return False
    return True


def read_history(data: Path, timeline: Epoch) -> tuple[int, Lsn]:
    """Give (parent, switchpoint) of a timeline that this PostgreSQL has begun; OSError if it has not."""
    return timelines.parse_switchpoint((data / WAL_DIRECTORY / f"{timeline:08X}.history").read_text())


def startable(data: Path) -> bool:
    """Whether PostgreSQL may be started on `data`: only as a standby."""
    return (data / STANDBY_SIGNAL).exists()


def discard(data: Path) -> None:
    """Remove a directory; the marker that would let it start goes first."""
    (data / STANDBY_SIGNAL).unlink(missing_ok=True)
    shutil.rmtree(data, ignore_errors=True)


def spread(parent: Path) -> None:
    """Have ext4 lay out what is made in `parent` far from each other (chattr +T); other file systems know no such wish.

    Without a journal ext4 passes over inodes that were deleted in the last minutes, one by one for each file it makes:
    a directory laid out beside one that was just thrown away takes four times as long.
    """
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            flags = array.array("l", [0])
            fcntl.ioctl(descriptor, _GET_FLAGS, flags)
            flags[0] |= _TOP
            fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    finally:
        os.close(descriptor)


def _put(target: Path, content: bytes, account: Account | None) -> None:
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(content)
    partial.chmod(0o600)
    if account is not None:
        os.chown(partial, account.uid, account.gid)
    partial.rename(target)


def write_wal(data: Path, image: Image) -> None:
    """Put the log that came with an image into `pg_wal`, in whole segments."""
    description = image.head.description
    size = description.segment_size
    for start in range(description.wal_start, description.wal_end, size):
        piece = image.wal[start - description.wal_start :][:size]
        (data / WAL_DIRECTORY / segment_name(1, start, size)).write_bytes(piece.ljust(size, b"\0"))
