"""One append to many members in one call of the native library."""

import ctypes
from collections.abc import Sequence
from typing import Final

from borealis_engine import native
from borealis_engine.core.messages import Append
from borealis_engine.net.wire_transport import WireTransport
from borealis_engine.proto.frames import IDENTITY_SIZE


class Fan:
    """Sends for a writer of this identity."""

    def __init__(self, library: ctypes.CDLL, identity: str) -> None:
        self.library: Final = library
        self.sender: Final = identity.encode().ljust(IDENTITY_SIZE, b"\0")
        self._copies = (native.Copy * native.COPIES)()

    def send(self, transports: Sequence[WireTransport], appends: Sequence[Append], generation: int) -> None:
        """Send to each transport its append; they differ in stream and beat alone. COPIES at most."""
        copies = self._copies
        for copy, transport, append in zip(copies, transports, appends, strict=False):
            copy.to, copy.stream, copy.beat = transport.wire.pointer, append.stream, append.beat
            copy.member = transport.member
        first, size = appends[0], len(appends[0].data)
        place = (first.epoch, first.lsn, first.durable)
        self.library.fan_append(copies, len(transports), generation, self.sender, *place, first.data, size)
        for copy, transport in zip(copies, transports, strict=False):
            if copy.result != 1:
                transport.sent(copy.result)
