"""Fake WAL of the simulator: records that describe themselves, long ones, and segment switches followed by zeros.

Bytes depend on epoch and LSN, so that two owners never write the same, and a mix-up is seen.
"""

import struct
from random import Random
from typing import Final

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.tail import LogEnd
from borealis_engine.core.testing.violation import require

SEGMENT: Final = 1024  # bytes
BASE: Final = Lsn(1024 * 1024)  # where the log of every simulated volume begins
_HEAD: Final = struct.Struct(">2sBHI")  # magic, is switch, length of the whole record, epoch
_MAGIC: Final = b"R!"
TELLING: Final = _HEAD.size  # bytes that tell whose a record is


def record(epoch: int, lsn: int, size: int, *, switch: bool = False) -> bytes:
    """Give a record of `size` bytes (a head at least) for `lsn`; zeros follow a switch up to its segment's end."""
    size = max(size, _HEAD.size)
    body = (b"%x.%x/" % (epoch, lsn)) * (size // 4 + 1)
    raw = _HEAD.pack(_MAGIC, switch, size, epoch) + body[: size - _HEAD.size]
    return raw + bytes(-(lsn + size) % SEGMENT) if switch else raw


def write(random: Random, epoch: int, lsn: int, count: int) -> bytes:
    """Give `count` random records from `lsn` on."""
    out = b""
    for _ in range(count):
        long = random.random() < 0.1
        size = random.randint(500, 2500) if long else random.randint(_HEAD.size, 120)
        out += record(epoch, lsn + len(out), size, switch=random.random() < 0.05)
    return out


def ends(start: int, log: bytes | bytearray | memoryview) -> list[int]:
    """Give the ends of all complete records in `log`, which begins at LSN `start`, a record's start.

    The end of a switch is that of its segment, also when the zeros are not all there.
    """
    found: list[int] = []
    at = 0
    while at + _HEAD.size <= len(log):
        magic, switch, size, _ = _HEAD.unpack_from(log, at)
        require(magic == _MAGIC, "a log is whole records, one behind the other", start + at)
        if at + size > len(log):
            break
        at += size
        if switch:
            at += -(start + at) % SEGMENT
        found.append(start + at)
    return found


def scan(start: Lsn, tail: bytes) -> LogEnd | None:
    """The core's Scan over this WAL."""
    found = ends(start, tail)
    if not found:
        return None
    return LogEnd(end=Lsn(found[-1]), padding=max(0, found[-1] - start - len(tail)))
