"""Head of an image blob: what storage nodes must know of an image without parsing the archive in it.

A blob is MAGIC, the length of the description, the description (JSON), the WAL of epoch 1 (`wal_start` up to
`wal_end`, raw), and a gzip-compressed tar of the data directory without its WAL segments. The invariant: the WAL
bytes of epoch 1 are a function of the blob's digest, so whoever adopts an image adopts its log with it.
"""

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any, Final

from borealis_engine.contract.volume import Lsn

MAGIC: Final = b"borealis-image-1"
MAX_DESCRIPTION: Final = 64 * 1024
HEAD: Final = struct.Struct("!16sI")


class ImageMalformed(ValueError):
    """The bytes are not an image blob of a format known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescription:
    """What an image is of; `wal_end` is the end of its shutdown checkpoint, both LSNs lie in one segment."""

    system_identifier: int
    major: int  # of PostgreSQL
    segment_size: int  # of its WAL, in bytes
    wal_start: Lsn
    wal_end: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHead:
    """Description of an image and where in the blob its parts begin."""

    description: ImageDescription
    wal_offset: int
    archive_offset: int


def render_head(description: ImageDescription) -> bytes:
    """Give the bytes that stand before the WAL in a blob."""
    text = json.dumps(asdict(description), separators=(",", ":"), sort_keys=True).encode()
    return HEAD.pack(MAGIC, len(text)) + text


def parse_head(prefix: bytes | memoryview) -> ImageHead:
    """Read the head from the first bytes of a blob (HEAD.size + MAX_DESCRIPTION of them always suffice).

    Raises ImageMalformed for anything else, also when the prefix is cut short.
    """
    if len(prefix) < HEAD.size:
        raise ImageMalformed("shorter than the head of an image")
    magic, size = HEAD.unpack_from(prefix)
    if magic != MAGIC:
        raise ImageMalformed(f"not an image blob: it begins with {magic!r}")
    text = bytes(prefix[HEAD.size : HEAD.size + size])
    if size > MAX_DESCRIPTION or len(text) < size:
        raise ImageMalformed(f"the description of {size} bytes is cut short or too long")
    description = _parse_description(text)
    wal_offset = HEAD.size + size
    return ImageHead(
        description=description,
        wal_offset=wal_offset,
        archive_offset=wal_offset + description.wal_end - description.wal_start,
    )


def _parse_description(text: bytes) -> ImageDescription:
    try:
        raw: dict[str, Any] = json.loads(text)
        description = ImageDescription(
            system_identifier=int(raw["system_identifier"]),
            major=int(raw["major"]),
            segment_size=int(raw["segment_size"]),
            wal_start=Lsn(int(raw["wal_start"])),
            wal_end=Lsn(int(raw["wal_end"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ImageMalformed(f"unreadable description: {error}") from error
    if description.segment_size <= 0 or not description.wal_start < description.wal_end:
        raise ImageMalformed(f"impossible description: {description}")
    return description
