"""Frames of the log protocol: what turns messages into bytes of a connection and back, sans-IO.

A frame is a fixed header (magic, version, type, generation, sender, recipient, length of the body, CRC-32C of header
and body) and the body (proto.bodies). Nothing of a frame is believed before its checksum matched, but its length,
which is bounded by MAX_BODY.
"""

import struct
from functools import lru_cache
from typing import Final

from crc32c import crc32c

from borealis_engine.contract.volume import Epoch, Generation, Lsn
from borealis_engine.core.messages import Ack, Append, Envelope, Message
from borealis_engine.proto.bodies import LAYOUTS, TYPES, Buffer, decode_body, encode_body
from borealis_engine.proto.errors import FrameCorrupt, ProtocolError

MAGIC: Final = b"BRLS"
VERSION: Final = 4
MAX_BODY: Final = 8 * 1024 * 1024  # bytes; senders cut data into pieces of PIECE
PIECE: Final = 1024 * 1024  # bytes of data in one frame, at most, by convention
_HEADER: Final = struct.Struct(">4sBBHI16s16sI")  # then the CRC
_CRC: Final = struct.Struct(">I")
HEADER_SIZE: Final = _HEADER.size + _CRC.size
IDENTITY_SIZE: Final = 16
APPEND: Final = TYPES[Append]
ACK: Final = TYPES[Ack]
_APPEND: Final = struct.Struct(_HEADER.format + _CRC.format[1:] + LAYOUTS[APPEND].form.format[1:])
_ACK: Final = struct.Struct(_HEADER.format + _CRC.format[1:] + LAYOUTS[ACK].form.format[1:])
HEADERS: Final = 4096  # remembered: acks have few, appends one for each size and member
IDENTITIES: Final = 256  # remembered in both forms: a connection carries the same two all the time


def encode(message: Message, generation: int, sender: str, recipient: str = "") -> list[Buffer]:
    """Give one frame as buffers to be written in order; data of the message is not copied.

    ValueError if an identity is longer than 16 ASCII characters or the body than MAX_BODY.
    """
    number, head, data = encode_body(message)
    size = len(head) + len(data)
    if size > MAX_BODY:
        raise ValueError(f"a body of {size} bytes; at most {MAX_BODY} may be sent")
    header, crc = _header(number, generation, sender, recipient, size)
    crc = crc32c(head, crc)
    if not data:
        return [header + _CRC.pack(crc) + head]
    return [header + _CRC.pack(crc32c(data, crc)) + head, data]


@lru_cache(maxsize=HEADERS)
def _header(number: int, generation: int, sender: str, recipient: str, size: int) -> tuple[bytes, int]:
    """Give the header up to its checksum, and the checksum of that much."""
    header = _HEADER.pack(MAGIC, VERSION, number, 0, generation, _identity(sender), _identity(recipient), size)
    return header, crc32c(header)


@lru_cache(maxsize=IDENTITIES)
def _identity(name: str) -> bytes:
    """Give it as it lies in a header, zero-padded."""
    raw = name.encode("ascii")
    if len(raw) > IDENTITY_SIZE:
        raise ValueError(f"identity {name!r} has more than {IDENTITY_SIZE} characters")
    return raw.ljust(IDENTITY_SIZE, b"\0")


@lru_cache(maxsize=IDENTITIES)
def _name(identity: bytes) -> str:
    try:
        return identity.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError as error:
        raise ProtocolError("an identity is not ASCII") from error


def parse_append(frame: bytes, generation: int, recipient: str) -> tuple[Epoch, int, Lsn, Lsn, int, memoryview] | None:
    """Read what is one whole append with data for `recipient` in `generation`; None for anything else, also broken.

    Gives epoch, stream, LSN, D, beat and the data, as `Decoder` does at several times the price: each commit comes by.
    """
    if len(frame) <= _APPEND.size:
        return None
    magic, version, number, _, known, _, to, size, crc, epoch, stream, lsn, durable, beat = _APPEND.unpack_from(frame)
    if (magic, version, number, known, size) != (MAGIC, VERSION, APPEND, generation, len(frame) - HEADER_SIZE):
        return None
    view = memoryview(frame)
    if to != _identity(recipient) or crc32c(view[HEADER_SIZE:], crc32c(view[: _HEADER.size])) != crc:
        return None
    return epoch, stream, lsn, durable, beat, view[_APPEND.size :]


class Decoder:
    """Takes the bytes of one connection as they come and gives whole envelopes in order."""

    __slots__ = ("_have", "_pieces", "_wanted")

    def __init__(self) -> None:
        self._pieces = list[bytes]()  # of a frame that is not whole: joined once, when it is
        self._have = 0  # bytes in them
        self._wanted = HEADER_SIZE  # no frame can be whole before so many bytes are there

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet: not 0 at the end of a connection means a torn frame."""
        return self._have

    def receive_data(self, data: Buffer) -> list[Envelope]:
        """Give the envelopes that `data` completed; ProtocolError ends the connection's use."""
        if not self._have and (envelope := _parse_ack(data)) is not None:
            return [envelope]
        self._pieces.append(bytes(data))
        self._have += len(data)
        if self._have < self._wanted:
            return []
        whole = b"".join(self._pieces)
        envelopes: list[Envelope] = []
        at = 0
        with memoryview(whole) as view:
            while (size := self._frame_size(view, at)) is not None:
                envelopes.append(_decode(view[at : at + size]))
                at += size
        rest = whole[at:]
        self._pieces, self._have = [rest] if rest else [], len(rest)
        return envelopes

    def _frame_size(self, view: memoryview, at: int) -> int | None:
        """Size of the frame at `at` if all of it is there."""
        have = len(view) - at
        self._wanted = HEADER_SIZE
        if have < HEADER_SIZE:
            return None
        magic, version, _, _, _, _, _, body = _HEADER.unpack_from(view, at)
        if magic != MAGIC or version != VERSION:
            raise ProtocolError(f"not a frame of this protocol: magic {magic!r}, version {version}")
        if body > MAX_BODY:
            raise ProtocolError(f"a body of {body} bytes is announced; at most {MAX_BODY} is allowed")
        self._wanted = HEADER_SIZE + int(body)
        return self._wanted if have >= self._wanted else None


def _parse_ack(frame: Buffer) -> Envelope | None:
    """Read what is one whole Ack; None for anything else, also broken: six of them come with each commit."""
    if len(frame) != _ACK.size:
        return None
    magic, version, number, _, generation, sender, recipient, _, crc, epoch, flush, beat, feeding = _ACK.unpack(frame)
    view = memoryview(frame)
    if (magic, version, number) != (MAGIC, VERSION, ACK):
        return None
    if crc32c(view[HEADER_SIZE:], crc32c(view[: _HEADER.size])) != crc:
        return None
    return Envelope(Generation(generation), _name(sender), _name(recipient), Ack(epoch, flush, beat, feeding))


def _decode(frame: memoryview) -> Envelope:
    _, _, number, _, generation, sender, recipient, _ = _HEADER.unpack_from(frame)
    (crc,) = _CRC.unpack_from(frame, _HEADER.size)
    if crc32c(frame[HEADER_SIZE:], crc32c(frame[: _HEADER.size])) != crc:
        raise FrameCorrupt(f"checksum of a frame of type {number} from {sender!r} does not match")
    return Envelope(
        generation=Generation(generation),
        sender=_name(sender),
        recipient=_name(recipient),
        message=decode_body(number, frame[HEADER_SIZE:]),
    )
