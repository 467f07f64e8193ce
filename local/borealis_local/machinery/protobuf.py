"""Kubernetes' protobuf bodies as objects: Go clients, kubectl create among them, send built-in kinds in no other form.

A body is the magic `k8s\\0` and a `runtime.Unknown`, whose `raw` is the object (staging/src/k8s.io/apimachinery/pkg/
runtime/serializer/protobuf). What its numbers mean is in protobuf.json: for each message a field's name in JSON, its
kind, and whether JSON has it though it is zero; tools/protobuf_fields.go writes that file from Kubernetes' own types.
As in Kubernetes, a field of a newer release is left out.
"""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\0"
MESSAGES: Final = json.loads(resources.files(__package__).joinpath("protobuf.json").read_text())
_SCALARS: Final = ("string", "int", "bool", "bytes")  # not in JSON where they are zero, unless Go has a pointer

Message = dict[str, Any]


def decode(body: bytes) -> Message | None:
    """Give the object that a body holds; None if its kind is not known here. ValueError if it is damaged."""
    if not body.startswith(MAGIC):
        raise ValueError("it does not begin as Kubernetes' protobuf does")
    envelope = dict(_fields(body[len(MAGIC) :]))
    about = dict(_fields(_bytes(envelope.get(1, b""))))
    version, kind = (_bytes(about.get(number, b"")).decode() for number in (1, 2))
    if envelope.get(3) or envelope.get(4):
        raise ValueError("its object is in another encoding within")
    name = "meta.DeleteOptions" if kind == "DeleteOptions" else MESSAGES["kinds"].get(f"{version}/{kind}")
    if name is None:
        return None
    return {"apiVersion": version, "kind": kind, **_message(name, _bytes(envelope.get(2, b"")))}


def _message(name: str, data: bytes) -> Message:
    """Give a message as its JSON form."""
    known, found = MESSAGES[name], Message()
    for number, value in _fields(data):
        if str(number) not in known:
            continue
        field, kind, *kept = known[str(number)]
        if field == "-":
            found |= _message(kind, _bytes(value))
        elif kind.startswith("[]"):
            found.setdefault(field, []).append(_value(kind.removeprefix("[]"), value))
        elif kind.startswith("map:"):
            entry = dict(_fields(_bytes(value)))
            key = _bytes(entry.get(1, b"")).decode()
            found.setdefault(field, {})[key] = _value(kind.removeprefix("map:"), entry.get(2, b""))
        elif (one := _value(kind, value)) is not None and (one or kept or kind not in _SCALARS):
            found[field] = one
    return found


def _value(kind: str, value: int | bytes) -> Any:
    """Give one value as JSON has it; None for a time that is not set."""
    if kind in ("int", "bool"):
        return _int(value) if kind == "int" else bool(_int(value))
    form = _FORMS.get(kind)
    return form(_bytes(value)) if form else _message(kind, _bytes(value))


def _quantity(data: bytes) -> str:
    return _bytes(dict(_fields(data)).get(1, b"")).decode()


def _int_or_string(data: bytes) -> int | str:
    parts = dict(_fields(data))
    return _bytes(parts.get(3, b"")).decode() if parts.get(1) else _int(parts.get(2, 0))


def _raw(data: bytes) -> Any:
    inner = _bytes(dict(_fields(data)).get(1, b""))
    return json.loads(inner) if inner else None


def _time(data: bytes, form: str) -> str | None:
    parts = dict(_fields(data))
    if not parts:
        return None
    seconds, nanos = _int(parts.get(1, 0)), _int(parts.get(2, 0))
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError as error:
        raise ValueError(f"{seconds} s since 1970 are no time") from error
    return moment.strftime(form)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give (number, value) of each field; ValueError where the bytes end too early or are of no known wire type."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 2:
                size, at = _varint(data, at)
            case 1:
                size = 8
            case 5:
                size = 4
            case other:
                raise ValueError(f"wire type {other} is none")
        if at + size > len(data):
            raise ValueError("it ends within a field")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("a number in it does not end")


def _int(value: int | bytes) -> int:
    """Give a number of 64 bits with its sign."""
    if not isinstance(value, int):
        raise ValueError("a number is of another wire type")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a string or message is of another wire type")
    return value


_FORMS: Final[dict[str, Callable[[bytes], Any]]] = {
    "string": bytes.decode,
    "bytes": lambda data: base64.b64encode(data).decode(),
    "quantity": _quantity,
    "time": lambda data: _time(data, "%Y-%m-%dT%H:%M:%SZ"),
    "microtime": lambda data: _time(data, "%Y-%m-%dT%H:%M:%S.%fZ"),
    "intorstring": _int_or_string,
    "raw": _raw,
}
