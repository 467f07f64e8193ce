"""TLS by the native library: a connection whose bytes no line of Python touches unless it has to.

Invariant: the library's object lives as long as this one, and touches the socket's number only until `finish`.
"""

import ctypes
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509

from borealis_engine import native
from borealis_engine.net.errors import Disconnected, TlsInvalid
from borealis_engine.proto.bodies import Buffer
from borealis_engine.proto.frames import IDENTITY_SIZE

CERTIFICATE: Final = 64 * 1024  # bytes of a peer's certificate, at most
CHUNK: Final = 256 * 1024  # bytes given at once
FOREVER: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """Both sides' TLS contexts of one identity; they live as long as the process."""

    library: ctypes.CDLL
    client: int
    server: int


@cache
def load_contexts(ca: Path, certificate: Path, key: Path) -> Contexts | None:
    """Load the files; None without the library, TlsInvalid if they cannot be used."""
    library = native.library()
    if library is None:
        return None
    names = [os.fsencode(path) for path in (ca, certificate, key)]
    client, server = (library.wire_context(*names, side) for side in (0, 1))
    if not client or not server:
        raise TlsInvalid(f"the certificates in {ca.parent} cannot be used")
    return Contexts(library=library, client=client, server=server)


class Wire:
    """One connection. `receive` and `serve` are for one thread at a time, `send` is for any."""

    def __init__(self, contexts: Contexts, sock: socket.socket, *, server: bool) -> None:
        self.library = contexts.library
        self._free = contexts.library.wire_free
        context = contexts.server if server else contexts.client
        self.pointer = contexts.library.wire_new(context, sock.fileno(), int(server))
        if not self.pointer:
            raise MemoryError("no memory for a connection")

    def __del__(self) -> None:
        if pointer := getattr(self, "pointer", None):
            self._free(pointer)

    def handshake(self) -> list[str] | None:
        """Shake hands and give the URIs that the peer's certificate names; else Disconnected.

        None: the peer's part has not come yet, on a socket that does not wait (or waited for as long as it is to).
        """
        done = self.library.wire_handshake(self.pointer)
        if done == native.LATER:
            return None
        if done != 1:
            raise Disconnected(f"handshake: {self.reason(done)}")
        der = ctypes.create_string_buffer(CERTIFICATE)
        size = self.library.wire_peer(self.pointer, der, CERTIFICATE)
        return uris(der.raw[:size]) if size else []

    def reason(self, code: int) -> str:
        """Say what a code that is not a success means."""
        if code == native.CLOSED:
            return "closed by the peer"
        said: bytes = self.library.wire_error(self.pointer)
        return said.decode(errors="replace") or "no answer in time"

    def take(self) -> bytes:
        """Give bytes that have come, CHUNK at most."""
        size = ctypes.c_size_t()
        first = self.library.wire_bytes(self.pointer, ctypes.byref(size))
        some = min(size.value, CHUNK)
        data = ctypes.string_at(first, some)
        self.library.wire_take(self.pointer, some)
        return data

    def send(self, buffers: list[Buffer], flags: int, wait_ms: int = FOREVER) -> int:
        """Send one frame of one or two buffers: 1, or native.LATER or FAILED."""
        head, data = buffers[0], buffers[1] if len(buffers) > 1 else b""
        head, data = bytes(head), bytes(data)
        done: int = self.library.wire_send(self.pointer, head, len(head), data, len(data), flags, wait_ms)
        return done

    def finish(self) -> None:
        """The socket is about to be closed."""
        self.library.wire_finish(self.pointer)


def identity(name: str) -> "ctypes.Array[ctypes.c_uint8]":
    """Give an identity as it lies in a frame, for a field of a structure."""
    return native.Identity.from_buffer_copy(name.encode("ascii").ljust(IDENTITY_SIZE, b"\0"))


def uris(der: bytes) -> list[str]:
    """Give the URIs among a certificate's alternative names."""
    try:
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(names.value.get_values_for_type(x509.UniformResourceIdentifier))
