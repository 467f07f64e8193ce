"""The native part of the engine, loaded if it was built: TLS streams and the short way of appends, in C.

Everything here has a counterpart in Python that does the same and is used where the library is missing (no compiler or
no OpenSSL headers when the project was installed) or where BOREALIS_NATIVE=off says so. It is called through ctypes,
which lets go of the interpreter's lock meanwhile. `native.h` says what each function does.
"""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Final

SWITCH: Final = "BOREALIS_NATIVE"  # "off": do without
FILE: Final = Path(__file__).with_name("libborealis.so")
POINTS: Final = 64
ACKS: Final = 32
COPIES: Final = 8
REIGN_LINES: Final = 6
REIGN_BEATS: Final = 64
REIGN_UNDER_WAY: Final = 64
REIGN_BUCKETS: Final = 16
BUCKETS: Final = 16

CLOSED, FAILED, LATER = 0, -1, -2  # WIRE_...
BYTES, FEED, HANDED = 1, 2, 3  # LANE_...
OTHER, BROKEN = 1, 2  # REIGN_...


# Bytes that may be zero: a field of `c_char` would be taken for a string, which ends at the first of them.
Identity: Final = ctypes.c_uint8 * 16
Nonce: Final = ctypes.c_uint8 * 4


class Terms(ctypes.Structure):
    """`lane_terms`: the state in which an append may go the short way."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("conn", "epoch", "stream", "flush", "durable", "end", "limit", "batch")),
        *((name, ctypes.c_double) for name in ("clock_read", "clock_base", "clock_most")),
        ("generation", ctypes.c_uint32),
        ("fd", ctypes.c_int32),
        ("member", Identity),
        ("nonce", Nonce),
        ("feeding", ctypes.c_uint8),
        ("kind", ctypes.c_uint8),
    )


class Deeds(ctypes.Structure):
    """`lane_deeds`: what went the short way, and what is still on it."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("count", "bytes", "durable", "beat", "end", "batch", "points")),
        ("lsns", ctypes.c_uint64 * POINTS),
        ("offsets", ctypes.c_uint64 * POINTS),
        ("syncs", ctypes.c_uint64 * BUCKETS),
        ("sync_seconds", ctypes.c_double),
        ("heard", ctypes.c_double),
        ("handed", ctypes.c_uint64),
        *((f"handed_{name}", ctypes.c_uint64) for name in ("conn", "epoch", "stream", "lsn", "size", "durable")),
        *((f"handed_{name}", ctypes.c_uint64) for name in ("beat", "offset", "end", "batch")),
        ("handed_heard", ctypes.c_double),
        ("handed_since", ctypes.c_double),
    )


class Copy(ctypes.Structure):
    """`fan_copy`: a member that gets an append."""

    _fields_ = (
        ("to", ctypes.c_void_p),
        ("stream", ctypes.c_uint64),
        ("beat", ctypes.c_uint64),
        ("member", Identity),
        ("result", ctypes.c_int64),
    )


class FanAck(ctypes.Structure):
    """`fan_ack`: what a member says that it holds."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("generation", "epoch", "flush", "beat", "feeding"))


class ReignLine(ctypes.Structure):
    """`reign_line`: a member of a reign that is lent."""

    _fields_ = (
        ("to", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("stream", "acked", "next", "told", "answered", "generation")),
        *((name, ctypes.c_uint64) for name in ("beat_first", "beat_last")),
        ("code", ctypes.c_int64),
        ("fd", ctypes.c_int32),
        ("member", Identity),
        ("streaming", ctypes.c_uint8),
        ("feeding", ctypes.c_uint8),
    )


class ReignState(ctypes.Structure):
    """`reign_state`: a reign as it is lent, and as it is given back."""

    _fields_ = (
        ("lines", ReignLine * REIGN_LINES),
        *((name, ctypes.c_uint64) for name in ("epoch", "start", "first", "offered", "end", "durable", "reported")),
        *((name, ctypes.c_uint64) for name in ("limit", "beat", "beat_count")),
        ("beats", ctypes.c_uint64 * REIGN_BEATS),
        *((name, ctypes.c_uint64) for name in ("waiting", "left", "under_way")),
        ("ends", ctypes.c_uint64 * REIGN_UNDER_WAY),
        ("bytes", ctypes.c_uint64),
        ("counts", ctypes.c_uint64 * REIGN_BUCKETS),
        ("turn", ctypes.c_uint64),
        ("beats_at", ctypes.c_double * REIGN_BEATS),
        ("left_at", ctypes.c_double * REIGN_UNDER_WAY),
        *((name, ctypes.c_double) for name in ("most", "flight", "until", "seconds", "announce_at")),
        *((name, ctypes.c_int32) for name in ("postgres", "postgres_code")),
        ("generation", ctypes.c_uint32),
        ("sender", Identity),
        *((name, ctypes.c_uint8) for name in ("crowded", "special", "violated", "reply")),
    )

    @property
    def pieces(self) -> list[tuple[int, float]]:
        """Give where the pieces end that are under way, and when they left."""
        return list(zip(self.ends[: self.under_way], self.left_at[: self.under_way], strict=True))


_int, _long, _size, _double = ctypes.c_int, ctypes.c_long, ctypes.c_size_t, ctypes.c_double
_pointer, _text = ctypes.c_void_p, ctypes.c_char_p
_SIGNATURES: Final = {
    "borealis_crc32c": (ctypes.c_uint32, _text, _size, ctypes.c_uint32),
    "wire_context": (_pointer, _text, _text, _text, _int),
    "wire_new": (_pointer, _pointer, _int, _int),
    "wire_free": (None, _pointer),
    "wire_handshake": (_int, _pointer),
    "wire_peer": (_int, _pointer, _pointer, _int),
    "wire_send": (_int, _pointer, _text, _size, _text, _size, _int, _int),
    "wire_pending": (_long, _pointer),
    "wire_flush": (_int, _pointer),
    "wire_receive": (_int, _pointer),
    "wire_bytes": (_pointer, _pointer, ctypes.POINTER(_size)),
    "wire_take": (None, _pointer, _size),
    "wire_error": (_text, _pointer),
    "wire_finish": (None, _pointer),
    "fan_append": (
        *(None, ctypes.POINTER(Copy), _int, ctypes.c_uint32, _text),
        *(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, _text, _size),
    ),
    "fan_acks": (_int, _pointer, _text, ctypes.POINTER(FanAck), ctypes.POINTER(_int)),
    "lane_new": (_pointer, ctypes.POINTER(_double), _int),
    "lane_free": (None, _pointer),
    "lane_open": (None, _pointer, ctypes.POINTER(Terms)),
    "lane_close": (_int, _pointer, ctypes.POINTER(Deeds)),
    "lane_syncing": (_double, _pointer),
    "gathering_hold": (_double, ctypes.POINTER(ReignState), _double),
    "gathering_left": (None, ctypes.POINTER(ReignState), ctypes.c_uint64, _double),
    "gathering_landed": (None, ctypes.POINTER(ReignState), _double, ctypes.POINTER(_double), _int),
    "reign_new": (_pointer, _int, ctypes.POINTER(_double), _int),
    "reign_free": (None, _pointer),
    "reign_lend": (_int, _pointer, ctypes.POINTER(ReignState), _text, _text, _size),
    "reign_take": (
        *(None, _pointer, ctypes.POINTER(ReignState), ctypes.POINTER(_pointer)),
        *(ctypes.POINTER(_pointer), ctypes.POINTER(_size)),
    ),
    "lane_serve": (_int, _pointer, _pointer, ctypes.c_uint64, _int, _int, ctypes.POINTER(_int)),
}


@cache
def library() -> ctypes.CDLL | None:
    """Give the library; None where there is none, or none is wanted."""
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no", "false"):
        return None
    try:
        found = ctypes.CDLL(str(FILE))
    except OSError:
        return None
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found
