"""A writer's connections to the members as one: an append leaves on all in one call, and their acks are awaited.

A commit needs four acks out of six. The event loop would be woken for each; here the library waits for as many as make
D move, a moment at most (`turn`), and the rest comes along with the next. When nothing is awaited, or the moment was
not enough, the event loop listens as ever. Invariant: acks of one member are passed on in order.
"""

import asyncio
import ctypes
import select
from collections.abc import Sequence
from typing import Final

from borealis_engine import native
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.messages import Append
from borealis_engine.net.wire_transport import WireTransport

LINGER_S: Final = 0.005  # seconds in which acks beyond those that were needed wait for the next turn


class Fan:
    """Transports that are listened to together."""

    def __init__(self, library: ctypes.CDLL, loop: asyncio.AbstractEventLoop) -> None:
        self._library, self._loop = library, loop
        self._transports: list[WireTransport | None] = [None] * native.LINES
        self._lines = (native.Line * native.LINES)()
        self._acks = (native.FanAck * (native.ACKS * native.LINES))()
        self._copies = (native.Copy * native.LINES)()
        self._epoll = select.epoll()
        self._listening = False
        self._turned = 0.0  # when the last turn ended
        self._timer: asyncio.TimerHandle | None = None
        self._epoch = Epoch(0)  # whose acks are counted
        self.listen()

    def add(self, transport: WireTransport) -> bool:
        """Listen to a transport from here on; False if there are too many."""
        for at, taken in enumerate(self._transports):
            if taken is None:
                self._transports[at] = transport
                line = self._lines[at]
                line.wire, line.member, line.fd = transport.wire.pointer, transport.member, transport.fileno
                line.acked = 0
                self._epoll.register(transport.fileno, select.EPOLLIN)
                transport.lend(self._remove)
                return True
        return False

    def _remove(self, transport: WireTransport) -> None:
        at = self._transports.index(transport)
        self._transports[at], self._lines[at].wire = None, None
        self._epoll.unregister(transport.fileno)

    def close(self) -> None:
        """Stop; the transports are closed already."""
        if self._timer is not None:
            self._timer.cancel()
        if self._listening:
            self._loop.remove_reader(self._epoll.fileno())
        self._listening = True  # nothing listens again
        self._epoll.close()

    def send(self, transports: Sequence[WireTransport], appends: Sequence[Append], generation: int, by: bytes) -> None:
        """Send to each transport its append; they differ in stream and beat alone. LINES at most."""
        copies = self._copies
        for copy, transport, append in zip(copies, transports, appends, strict=False):
            copy.to, copy.stream, copy.beat = transport.wire.pointer, append.stream, append.beat
            copy.member = transport.member
        first, size = appends[0], len(appends[0].data)
        place = (first.epoch, first.lsn, first.durable)
        self._library.fan_append(copies, len(transports), generation, by, *place, first.data, size)
        for copy, transport in zip(copies, transports, strict=False):
            if copy.result != 1:
                transport.sent(copy.result)

    def turn(self, epoch: Epoch, target: Lsn, needed: int, *, other: int, seconds: float) -> None:
        """Wait until `needed` members have acked `target`, and pass on all that came.

        Ends early when something else came, when `other` can be read (-1: nothing), and after `seconds`.
        """
        if epoch != self._epoch:
            self._epoch = epoch
            for line in self._lines:
                line.acked = 0
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._epoll.fileno())
        self._hear(target, needed, other, int(seconds * 1e6))
        self._turned = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(LINGER_S, self._lingered)

    def _hear(self, target: int, needed: int, other: int, microseconds: int) -> None:
        lines = self._lines
        for line, transport in zip(lines, self._transports, strict=True):
            if transport is not None:
                line.aligned = transport.aligned
        count = self._library.fan_turn(
            lines, native.LINES, self._epoch, target, needed, other, microseconds, self._acks
        )
        told = [(transport, lines[at].code) for at, transport in enumerate(self._transports)]
        for ack in self._acks[:count]:
            transport = told[ack.line][0]
            if transport is not None:
                transport.answered(ack)
        for transport, code in told:
            if transport is not None and code != native.LATER:
                transport.came(code)

    def _lingered(self) -> None:
        """Listen again unless turns go on."""
        self._timer = None
        rest = self._turned + LINGER_S - self._loop.time()
        if rest > 0:
            self._timer = self._loop.call_later(rest, self._lingered)
        else:
            self.listen()

    def listen(self) -> None:
        """Hear what comes as it comes: no turn waits for it, or the last one did not bring what it was to."""
        if not self._listening:
            self._listening = True
            self._loop.add_reader(self._epoll.fileno(), self._readable)

    def _readable(self) -> None:
        self._hear(0, native.LINES + 1, -1, 0)
