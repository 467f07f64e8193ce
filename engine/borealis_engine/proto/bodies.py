"""Bodies of the log protocol's frames: one table that says how each message of core.messages is laid out.

Fields of fixed size come first, then strings and histories, then raw data to the end of the body, which is never
copied when encoding. The table is the format: a change to a row is a change of frames.VERSION.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core import messages as m
from borealis_engine.proto.errors import ProtocolError

Buffer: TypeAlias = bytes | bytearray | memoryview
_SIZE: Final = struct.Struct(">I")
_REIGN: Final = struct.Struct(">QQ")
_COUNT: Final = struct.Struct(">I")
_POSITION_HEAD: Final = struct.Struct(">QQQ?")
_POSITION_FIELDS: Final = attrgetter("flush", "durable_epoch", "durable", "image_here")
MAX_HISTORY: Final = 100_000  # reigns that wrote something; a frame that claims more is corrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one message type lies in a body: `fixed` by `form`, then `varying`, then `data` to the end."""

    kind: type[Any]
    form: struct.Struct
    take: Callable[[Any], tuple[Any, ...]]  # the fixed fields of a message
    fixed: tuple[str, ...] = ()
    varying: tuple[tuple[str, "Varying"], ...] = ()
    data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Varying:
    """A field whose length is in the body: `read(body, offset) -> (value, next offset)`."""

    write: Callable[[Any], bytes]
    read: Callable[[memoryview, int], tuple[Any, int]]


def _write_text(value: str) -> bytes:
    raw = value.encode()
    return _SIZE.pack(len(raw)) + raw


def _read_text(body: memoryview, at: int) -> tuple[str, int]:
    (size,) = _SIZE.unpack_from(body, at)
    end = at + _SIZE.size + size
    if end > len(body):
        raise ProtocolError("a string runs beyond its frame")
    return str(body[at + _SIZE.size : end], "utf-8"), end


def _write_history(history: m.History) -> bytes:
    image = history[0].image if history else ""
    numbers = [number for reign in history for number in (reign.epoch, reign.start)]
    reigns = struct.pack(f">{len(numbers)}Q", *numbers)
    return _write_text(image) + _COUNT.pack(len(history)) + reigns


def _read_history(body: memoryview, at: int) -> tuple[m.History, int]:
    image, at = _read_text(body, at)
    (count,) = _COUNT.unpack_from(body, at)
    at += _COUNT.size
    if count > MAX_HISTORY:
        raise ProtocolError(f"a history of {count} reigns")
    end = at + count * _REIGN.size
    if end > len(body):
        raise ProtocolError("a history runs beyond its frame")
    return _parse_reigns(bytes(body[at:end]), image), end


@lru_cache(maxsize=4)
def _parse_reigns(raw: bytes, image: str) -> m.History:
    """Give the history; all members say the same one in an election, and it may have many thousand entries."""
    return tuple(
        m.Reign(epoch=Epoch(epoch), start=Lsn(start), image="" if i else image)
        for i, (epoch, start) in enumerate(_REIGN.iter_unpack(raw))
    )


def _write_position(position: m.Position) -> bytes:
    return _POSITION_HEAD.pack(*_POSITION_FIELDS(position)) + _write_history(position.history)


def _read_position(body: memoryview, at: int) -> tuple[m.Position, int]:
    flush, epoch, durable, image = _POSITION_HEAD.unpack_from(body, at)
    history, end = _read_history(body, at + _POSITION_HEAD.size)
    return m.Position(history=history, flush=flush, durable_epoch=epoch, durable=durable, image_here=image), end


def _write_maybe_history(history: m.History | None) -> bytes:
    return b"\0" if history is None else b"\1" + _write_history(history)


def _read_maybe_history(body: memoryview, at: int) -> tuple[m.History | None, int]:
    return _read_history(body, at + 1) if body[at] else (None, at + 1)


def _write_reason(reason: m.Reason | None) -> bytes:
    return bytes([reason or 0])


def _read_reason(body: memoryview, at: int) -> tuple[m.Reason | None, int]:
    return (m.Reason(body[at]) if body[at] else None), at + 1


_TEXT: Final = Varying(write=_write_text, read=_read_text)
_HISTORY: Final = Varying(write=_write_history, read=_read_history)
_POSITION: Final = Varying(write=_write_position, read=_read_position)
_MAYBE_HISTORY: Final = Varying(write=_write_maybe_history, read=_read_maybe_history)
_REASON: Final = Varying(write=_write_reason, read=_read_reason)


def _row(kind: type[Any], form: str = "", *fixed: str, data: bool = False, **varying: Varying) -> Layout:
    take = attrgetter(*fixed) if len(fixed) > 1 else lambda message: tuple(getattr(message, name) for name in fixed)
    packed = struct.Struct(">" + form)
    return Layout(kind=kind, form=packed, take=take, fixed=fixed, varying=tuple(varying.items()), data=data)


LAYOUTS: Final[dict[int, Layout]] = {
    1: _row(m.Canvass, "Q", "epoch", owner=_TEXT),
    2: _row(m.Solicit, "Q", "epoch", owner=_TEXT),
    3: _row(m.Begin, "QQQQ", "epoch", "zeros", "upto", "stream", history=_HISTORY, donor=_TEXT),
    4: _row(m.Append, "QQQQQ", "epoch", "stream", "lsn", "durable", "beat", data=True),
    5: _row(m.Resign, "Q?", "epoch", "void", owner=_TEXT),
    6: _row(m.Read, "QQQ", "epoch", "start", "upto"),
    7: _row(m.Subscribe, "Q", "start"),
    8: _row(m.PutImage, "QQ", "size", "offset", image=_TEXT, data=True),
    9: _row(m.GetImage, image=_TEXT),
    32: _row(m.Consent, "Q?Q", "epoch", "granted", "promised", reason=_REASON, position=_POSITION),
    33: _row(m.Promise, "Q?Q", "epoch", "granted", "promised", position=_POSITION),
    34: _row(m.Begun, "QQ", "epoch", "flush"),
    35: _row(m.Ack, "QQQ?", "epoch", "flush", "beat", "feeding"),
    36: _row(m.LogData, "Q?", "lsn", "last", data=True),
    37: _row(m.Feed, "QQ", "lsn", "durable", history=_MAYBE_HISTORY, data=True),
    38: _row(m.ImageStored, image=_TEXT),
    39: _row(m.ImageData, "QQ", "size", "offset", image=_TEXT, data=True),
    40: _row(m.Refused, "QI", "promised", "generation", reason=_REASON, config=_TEXT, message=_TEXT),
    41: _row(m.RoomLeft, "QQ", "epoch", "upto"),
}
TYPES: Final[dict[type[Any], int]] = {layout.kind: number for number, layout in LAYOUTS.items()}


def encode_body(message: m.Message) -> tuple[int, bytes, Buffer]:
    """Give (type number, head of the body, raw data that follows it, not copied)."""
    number = TYPES[type(message)]
    layout = LAYOUTS[number]
    head = layout.form.pack(*layout.take(message))
    for name, field in layout.varying:
        head += field.write(getattr(message, name))
    data: Buffer = getattr(message, "data") if layout.data else b""  # noqa: B009 - not every message has it
    return number, head, data


def decode_body(number: int, body: memoryview) -> m.Message:
    """Read a whole body; ProtocolError if it is not laid out as its type says."""
    layout = LAYOUTS.get(number)
    if layout is None:
        raise ProtocolError(f"unknown message type {number}")
    try:
        return _fill(layout, body)
    except (struct.error, IndexError, ValueError) as error:  # ValueError: text or enum of no known value
        raise ProtocolError(f"malformed {layout.kind.__name__}: {error}") from error


def _fill(layout: Layout, body: memoryview) -> m.Message:
    values: dict[str, Any] = dict(zip(layout.fixed, layout.form.unpack_from(body), strict=True))
    at = layout.form.size
    for name, field in layout.varying:
        values[name], at = field.read(body, at)
    if layout.data:
        values["data"] = bytes(body[at:])
    elif at != len(body):
        raise ProtocolError(f"{len(body) - at} bytes too many in {layout.kind.__name__}")
    message: m.Message = layout.kind(**values)
    return message
