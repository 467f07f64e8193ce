"""Small files of a disk, each one line of text and a line with its CRC-32C: written whole or not at all.

A file of format 1 is the line alone. It is taken as it is once, while the disk's identity says format 1, and all are
written anew then; from there on a file without its checksum is damaged.
"""

from crc32c import crc32c

from borealis_engine.store.disk import Disk
from borealis_engine.store.errors import DiskCorrupt, reading

LIMIT = 1 << 20  # bytes
_LABEL = "crc32c "


def write_note(disk: Disk, name: str, line: str) -> None:
    """Write a file of one line durably, replacing one of that name."""
    raw = line.encode()
    file = disk.create(f"{name}.new")
    try:
        file.write((raw, b"\n", _check(raw)), 0)
        file.sync()
    finally:
        file.close()
    disk.rename(f"{name}.new", name)
    disk.sync_directory("")


def read_note(disk: Disk, name: str, *, unchecked: bool = False) -> str:
    """Give the line of a file; DiskCorrupt if it is missing, cannot be read or is not what was written.

    `unchecked` takes one of format 1, which has no checksum.
    """
    with reading(name):
        file = disk.open(name)
        try:
            raw = file.read(LIMIT, 0)
        finally:
            file.close()
    line, _, check = raw.partition(b"\n")
    if not (unchecked and not check) and check != _check(line):
        raise DiskCorrupt(f"{name} is damaged: its checksum does not fit")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DiskCorrupt(f"{name} is damaged: {error}") from error


def _check(line: bytes) -> bytes:
    return f"{_LABEL}{crc32c(line):08x}\n".encode()
