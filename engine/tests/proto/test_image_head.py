"""The head of an image blob survives the way there and back, and nothing else is taken for one."""

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.proto.image import HEAD, MAGIC, ImageDescription, ImageMalformed, parse_head, render_head

DESCRIPTION = ImageDescription(
    system_identifier=7_312_345_678_901_234_567,
    major=15,
    segment_size=1 << 20,
    wal_start=Lsn(0x1500000),
    wal_end=Lsn(0x15A0028),
)


def test_round_trip() -> None:
    blob = render_head(DESCRIPTION) + b"w" * 10
    head = parse_head(blob)
    assert head.description == DESCRIPTION
    assert blob[head.wal_offset :] == b"w" * 10
    assert head.archive_offset - head.wal_offset == 0xA0028


@pytest.mark.parametrize("size", [0, HEAD.size - 1, HEAD.size, HEAD.size + 5])
def test_a_prefix_cut_short_is_refused(size: int) -> None:
    with pytest.raises(ImageMalformed):
        parse_head(render_head(DESCRIPTION)[:size])


@pytest.mark.parametrize(
    "text", [b"{}", b"[]", b"\xff", b'{"system_identifier":1,"major":15,"segment_size":0,"wal_start":0,"wal_end":1}']
)
def test_a_bad_description_is_refused(text: bytes) -> None:
    with pytest.raises(ImageMalformed):
        parse_head(HEAD.pack(MAGIC, len(text)) + text)


def test_another_magic_is_refused() -> None:
    with pytest.raises(ImageMalformed, match="not an image"):
        parse_head(b"x" * 100)
