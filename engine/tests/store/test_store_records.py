"""Every kind of record that the core knows comes back from the disk as it went there."""

from typing import get_args

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import Committed, Entered, Logged, Promised, Record, Resigned, Withdrawn
from borealis_engine.core.messages import Reign
from borealis_engine.store.frames import parse_frame
from borealis_engine.store.records import PIECE, parse_record, parts, render_batch

NONCE = b"abcd"
RECORDS: tuple[Record, ...] = (
    Promised(epoch=Epoch(7), owner="me"),
    Resigned(epoch=Epoch(7)),
    Withdrawn(epoch=Epoch(7), promised=Epoch(5), owner="them", resigned=True),
    Entered(
        history=(Reign(epoch=Epoch(1), start=Lsn(0), image="ab"), Reign(epoch=Epoch(7), start=Lsn(9))),
        end=Lsn(5),
    ),
    Logged(lsn=Lsn(1 << 40), data=b"bytes"),
    Committed(epoch=Epoch(7), lsn=Lsn(1 << 40)),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_there_and_back(record: Record) -> None:
    data = b"".join(render_batch(NONCE, 3, list(parts(record))))
    frame = parse_frame(memoryview(data), 0, NONCE, 0)
    assert frame is not None
    assert (parse_record(frame), frame.batch, frame.last, frame.end) == (record, 3, True, len(data))


def test_no_kind_is_forgotten() -> None:
    assert {type(record) for record in RECORDS} == set(get_args(Record))


def test_long_log_bytes_take_several_frames() -> None:
    data = bytes(2 * PIECE + 5)
    pieces = list(parts(Logged(lsn=Lsn(100), data=data)))
    assert [(lsn, len(payload)) for _, lsn, payload in pieces] == [
        (100, PIECE),
        (100 + PIECE, PIECE),
        (100 + 2 * PIECE, 5),
    ]


@pytest.mark.parametrize("at", [0, 5, 9, 20, 40])
def test_a_changed_byte_is_noticed(at: int) -> None:
    data = bytearray(b"".join(render_batch(NONCE, 3, list(parts(Logged(lsn=Lsn(8), data=b"x" * 20))))))
    data[at] ^= 1
    assert parse_frame(memoryview(data), 0, NONCE, 0) is None
