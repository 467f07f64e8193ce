"""The blob of a simulated image: its extent; the log that came with it is the oracle's."""

import struct

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.effects import ImageExtent


def pack(extent: ImageExtent) -> bytes:
    """Give the blob."""
    return struct.pack(">QQ", extent.start, extent.end)


def unpack(blob: bytes) -> ImageExtent:
    """Read `pack`."""
    start, end = struct.unpack(">QQ", blob)
    return ImageExtent(start=Lsn(start), end=Lsn(end))
