"""PostgreSQL's wire protocol, version 3, as far as physical replication speaks it: framing and messages.

Sans-IO: bytes in, values out. `proto.walsender` and `proto.walreceiver` are the two peers built on it. Layouts:
PostgreSQL documentation, "Message Formats" and "Streaming Replication Protocol". The invariant: a length from the
wire is checked before it is believed, so a stranger on the socket cannot make a peer collect memory.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from borealis_engine.contract.volume import Lsn

PROTOCOL_3: Final = 196608
SSL_REQUEST: Final = 80877103
GSS_REQUEST: Final = 80877104
CANCEL_REQUEST: Final = 80877102
MAX_MESSAGE: Final = 1 << 24
POSTGRES_EPOCH_S: Final = 946_684_800  # 2000-01-01 in Unix time
OID_TEXT: Final = 25
OID_BYTEA: Final = 17
OID_INT8: Final = 20
OID_INT4: Final = 23

_HEAD: Final = struct.Struct("!cI")
_STARTUP: Final = struct.Struct("!II")
_XLOG_DATA: Final = struct.Struct("!cQQq")
_KEEPALIVE: Final = struct.Struct("!cQqB")
_STATUS: Final = struct.Struct("!cQQQqB")


class WireError(ValueError):
    """The peer broke the protocol; the connection is of no more use."""


class Packet(NamedTuple):
    """One message: its type byte and body."""

    kind: bytes
    body: bytes


class StandbyStatus(NamedTuple):
    """What a receiver has written, flushed and applied (`r`)."""

    write: Lsn
    flush: Lsn
    apply: Lsn
    reply_requested: bool


class XLogData(NamedTuple):
    """WAL bytes at `lsn` (`w`)."""

    lsn: Lsn
    wal_end: Lsn
    data: bytes


class Keepalive(NamedTuple):
    """A sender's sign of life (`k`)."""

    wal_end: Lsn
    reply_requested: bool


class Inbox:
    """Cuts a byte stream into packets."""

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._data = bytearray()
        self._limit = limit

    def receive_data(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._data += data

    def surrender(self) -> bytes:
        """Give away what is not a whole packet yet."""
        data = bytes(self._data)
        self._data.clear()
        return data

    def startup(self) -> bytes | None:
        """Take one untyped packet (start-up, SSL or cancel request), whole."""
        if len(self._data) < 4:
            return None
        size = int.from_bytes(self._data[:4], "big")
        if not _STARTUP.size <= size <= 10_000:  # MAX_STARTUP_PACKET_LENGTH
            raise WireError(f"a start-up packet of {size} bytes")
        return self._take(size)

    def packets(self) -> Iterator[Packet]:
        """Take the complete packets."""
        while len(self._data) >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._data)
            if not 4 <= size <= self._limit:
                raise WireError(f"a message {kind!r} of {size} bytes")
            whole = self._take(size + 1)
            if whole is None:
                return
            yield Packet(kind=kind, body=whole[5:])

    def _take(self, size: int) -> bytes | None:
        if len(self._data) < size:
            return None
        taken = bytes(memoryview(self._data)[:size])
        del self._data[:size]
        return taken


def packet(kind: bytes, body: bytes = b"") -> bytes:
    """Frame one message."""
    return _HEAD.pack(kind, len(body) + 4) + body


def render_startup(parameters: dict[str, str]) -> bytes:
    """Give the start-up packet of a client."""
    pairs = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items()) + b"\0"
    return _STARTUP.pack(len(pairs) + _STARTUP.size, PROTOCOL_3) + pairs


def parse_startup(data: bytes) -> tuple[int, dict[str, str]]:
    """Read (request code, parameters) from an untyped packet."""
    _, code = _STARTUP.unpack_from(data)
    if code != PROTOCOL_3:
        return code, {}
    words = data[_STARTUP.size :].decode(errors="replace").split("\0")
    return code, dict(zip(words[0::2], words[1::2], strict=False))


def render_error(*, severity: str, sqlstate: str, message: str) -> bytes:
    """Give an ErrorResponse."""
    fields = ((b"S", severity), (b"V", severity), (b"C", sqlstate), (b"M", message))
    return packet(b"E", b"".join(k + v.encode() + b"\0" for k, v in fields) + b"\0")


def parse_error(body: bytes) -> dict[str, str]:
    """Read the fields of an ErrorResponse or NoticeResponse by their letters."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


def render_row(columns: Sequence[tuple[str, int]], values: Sequence[bytes | None]) -> bytes:
    """Give RowDescription and one DataRow; `columns` are (name, type oid), values in text form."""
    described = b"".join(name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, 0) for name, oid in columns)
    row = b"".join(struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in values)
    count = struct.pack("!h", len(columns))
    return packet(b"T", count + described) + packet(b"D", count + row)


def render_xlog_data(lsn: Lsn, wal_end: Lsn, data: bytes | memoryview, now: float) -> bytes:
    """Give WAL bytes in a CopyData; `now` is Unix time in seconds."""
    head = _XLOG_DATA.pack(b"w", lsn, wal_end, timestamp(now))
    return b"".join((_HEAD.pack(b"d", len(head) + len(data) + 4), head, data))


def render_keepalive(wal_end: Lsn, now: float, *, reply: bool) -> bytes:
    """Give a sender's keepalive in a CopyData."""
    return packet(b"d", _KEEPALIVE.pack(b"k", wal_end, timestamp(now), reply))


def render_status(write: Lsn, flush: Lsn, apply: Lsn, now: float) -> bytes:
    """Give a receiver's status in a CopyData."""
    return packet(b"d", _STATUS.pack(b"r", write, flush, apply, timestamp(now), 0))


def parse_sent(body: bytes) -> XLogData | Keepalive | None:
    """Read what a sender put in a CopyData; None for kinds unknown here."""
    try:
        if body[:1] == b"w":
            _, lsn, wal_end, _ = _XLOG_DATA.unpack_from(body)
            return XLogData(lsn=Lsn(lsn), wal_end=Lsn(wal_end), data=body[_XLOG_DATA.size :])
        if body[:1] == b"k":
            _, wal_end, _, reply = _KEEPALIVE.unpack(body)
            return Keepalive(wal_end=Lsn(wal_end), reply_requested=bool(reply))
    except struct.error as error:
        raise WireError(f"a CopyData cut short: {error}") from error
    return None


def parse_reply(body: bytes) -> StandbyStatus | None:
    """Read what a receiver put in a CopyData; None for hot-standby feedback and kinds unknown here."""
    if body[:1] != b"r":
        return None
    try:
        _, write, flush, apply, _, reply = _STATUS.unpack(body)
    except struct.error as error:
        raise WireError(f"a status cut short: {error}") from error
    return StandbyStatus(write=Lsn(write), flush=Lsn(flush), apply=Lsn(apply), reply_requested=bool(reply))


def timestamp(now: float) -> int:
    """Give PostgreSQL's TimestampTz (microseconds since 2000) of a Unix time."""
    return int((now - POSTGRES_EPOCH_S) * 1_000_000)
