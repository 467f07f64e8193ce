"""Frames: every message survives the wire, whole or byte by byte, and no changed bit does."""

import pytest
from borealis_engine.contract.volume import Epoch, Generation, Lsn
from borealis_engine.core import messages as m
from borealis_engine.proto.bodies import TYPES
from borealis_engine.proto.errors import FrameCorrupt, ProtocolError
from borealis_engine.proto.frames import HEADER_SIZE, MAX_BODY, Decoder, encode
from hypothesis import given, settings
from hypothesis import strategies as st

HISTORY = (
    m.Reign(epoch=Epoch(1), start=Lsn(0x1000000), image="ab" * 32),
    m.Reign(epoch=Epoch(7), start=Lsn(0x1234567)),
)
AT = m.Position(history=HISTORY, flush=Lsn(2**63))
NOWHERE = m.Position(history=(), flush=Lsn(0))
SAMPLES: list[m.Message] = [
    m.Canvass(epoch=Epoch(2), owner="a"),
    m.Solicit(epoch=Epoch(2), owner="0123456789abcdef"),
    m.Begin(epoch=Epoch(7), history=HISTORY, donor="m1", zeros=12, upto=Lsn(99), stream=3),
    m.Append(epoch=Epoch(7), stream=3, lsn=Lsn(5), durable=Lsn(4), data=b"wal" * 50, beat=9),
    m.Append(epoch=Epoch(7), stream=3, lsn=Lsn(5), durable=Lsn(4), data=b""),
    m.Resign(epoch=Epoch(7), owner="agent", void=True),
    m.Read(epoch=Epoch(0), start=Lsn(1), upto=Lsn(2)),
    m.Subscribe(start=Lsn(77)),
    m.PutImage(image="ff", size=10, offset=5, data=b"12345"),
    m.GetImage(image="ff"),
    m.Consent(epoch=Epoch(9), granted=False, reason=m.Reason.LEASE, promised=Epoch(8), position=AT),
    m.Consent(epoch=Epoch(9), granted=True, reason=None, promised=Epoch(0), position=NOWHERE),
    m.Promise(epoch=Epoch(9), granted=True, promised=Epoch(9), position=AT),
    m.Begun(epoch=Epoch(9), flush=Lsn(10)),
    m.Ack(epoch=Epoch(9), flush=Lsn(11), beat=12),
    m.RoomLeft(epoch=Epoch(9), upto=Lsn(1 << 62)),
    m.LogData(lsn=Lsn(1), data=b"x" * 300, last=True),
    m.Feed(lsn=Lsn(1), durable=Lsn(2), data=b"y", history=HISTORY),
    m.Feed(lsn=Lsn(1), durable=Lsn(2), data=b"", history=None),
    m.ImageStored(image="ff"),
    m.ImageData(image="ff", size=3, offset=0, data=b"abc"),
    m.Refused(reason=m.Reason.CONFIG, promised=Epoch(1), generation=Generation(2), config="{}", message="né"),
]


def wire(message: m.Message) -> bytes:
    return b"".join(encode(message, 5, "sender", "recipient"))


def test_every_message_type_has_a_sample() -> None:
    assert {type(s) for s in SAMPLES} == set(TYPES)


@pytest.mark.parametrize("message", SAMPLES, ids=lambda s: type(s).__name__)
def test_a_message_survives_byte_by_byte(message: m.Message) -> None:
    decoder, got = Decoder(), []
    for byte in wire(message):
        assert not got
        got += decoder.receive_data(bytes([byte]))
    assert got == [m.Envelope(generation=Generation(5), sender="sender", recipient="recipient", message=message)]
    assert decoder.pending == 0


@given(st.lists(st.sampled_from(SAMPLES), max_size=8), st.lists(st.integers(1, 200), min_size=1))
@settings(max_examples=50, deadline=None)
def test_chunks_of_any_size_give_the_same_messages(messages: list[m.Message], cuts: list[int]) -> None:
    stream, decoder, got, turn = b"".join(map(wire, messages)), Decoder(), [], 0
    while stream:
        size = cuts[turn % len(cuts)]
        got += decoder.receive_data(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert [e.message for e in got] == messages


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_bit_is_never_believed(message: m.Message, data: st.DataObject) -> None:
    raw = bytearray(wire(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    decoder = Decoder()
    try:
        assert decoder.receive_data(raw) == []  # a longer length was read: still waiting
        assert decoder.pending == len(raw)
    except ProtocolError:
        pass


def test_a_bad_checksum_has_its_own_error() -> None:
    raw = bytearray(wire(SAMPLES[3]))
    raw[HEADER_SIZE + 50] ^= 1
    with pytest.raises(FrameCorrupt):
        Decoder().receive_data(raw)


def test_data_is_not_copied_when_encoded() -> None:
    data = b"z" * 4096
    message = m.Append(epoch=Epoch(2), stream=1, lsn=Lsn(0), durable=Lsn(0), data=data)
    assert encode(message, 1, "w")[1] is data


def test_limits_are_kept_on_both_sides() -> None:
    big = m.LogData(lsn=Lsn(0), data=b"0" * (MAX_BODY + 1), last=True)
    with pytest.raises(ValueError, match="at most"):
        encode(big, 1, "s")
    with pytest.raises(ValueError, match="identity"):
        encode(SAMPLES[0], 1, "s" * 17)
    header = bytearray(wire(SAMPLES[0])[:HEADER_SIZE])
    header[44:48] = b"\xff\xff\xff\xff"
    with pytest.raises(ProtocolError, match="announced"):
        Decoder().receive_data(header)
