"""What the writer's agent lends to the native library, and how it takes it back: the short way of a commit, in C.

The library has a reign, the connections to its members and the one to PostgreSQL, as long as nothing but WAL and acks
comes. The event loop takes all of it back before it touches any of it, and lends it again afterwards. Invariant: what
was done meanwhile is told to the core (core.steady_reign) and to the log writer before anything else is.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from borealis_engine import native
from borealis_engine.contract.volume import Lsn, MemberId
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.steady_reign import LentReign, PeerDeeds, ReignDeeds
from borealis_engine.core.writer import Writer
from borealis_engine.net.members import Members
from borealis_engine.net.wire_transport import WireTransport
from borealis_engine.postgres.latency import BOUNDS_S

if TYPE_CHECKING:
    from borealis_engine.postgres.logwriter import LogWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Borrowed:
    """What is with the library now."""

    members: tuple[MemberId, ...]
    transports: Sequence[WireTransport | None]


class ReignLane:
    """Of one owner with one log writer; `close` before their connections end."""

    def __init__(
        self, library: ctypes.CDLL, *, core: Writer, members: Members, sender: bytes, writer: "LogWriter",
        reclaim: Callable[[], None],
    ) -> None:  # fmt: skip
        """`reclaim` is called when there is something for the event loop: it calls `take`, and `lend` later."""
        self._library, self._core, self._members, self._writer = library, core, members, writer
        self._reclaim = reclaim
        self._loop = asyncio.get_running_loop()
        self._bell: Final = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reign = library.reign_new(self._bell, (ctypes.c_double * len(BOUNDS_S))(*BOUNDS_S), len(BOUNDS_S))
        if not self._reign:
            os.close(self._bell)
            raise MemoryError("no memory for a reign")
        self._state = native.ReignState(sender=native.Identity.from_buffer_copy(sender))
        self._borrowed: _Borrowed | None = None
        self._loop.add_reader(self._bell, self._rung)

    def close(self) -> None:
        """Lend nothing any more; what was lent is taken back already."""
        self._loop.remove_reader(self._bell)
        self._library.reign_free(self._reign)
        os.close(self._bell)

    @property
    def lent(self) -> bool:
        """Whether the library has it."""
        return self._borrowed is not None

    def _rung(self) -> None:
        os.eventfd_read(self._bell)
        self._reclaim()

    # --- to the library -------------------------------------------------------------------------------------------

    def lend(self) -> None:
        """Lend it, if everything is as the library expects it."""
        writer, lent = self._writer, self._core.lend()
        if lent is None or len(lent.peers) > native.REIGN_LINES or not writer.lendable:
            return
        transports = list[WireTransport | None]()
        for peer in lent.peers:
            transport = self._members.transport(peer.id)
            if transport is None or (isinstance(transport, WireTransport) and transport.lendable):
                transports.append(transport)
            else:
                return
        self._describe(lent, transports)
        waiting, rest = writer.describe(self._state)
        if not self._library.reign_lend(self._reign, self._state, waiting, rest, len(rest)):
            writer.keep(rest)
            return
        self._borrowed = _Borrowed(members=tuple(peer.id for peer in lent.peers), transports=transports)
        writer.lend()
        for transport in transports:
            if transport is not None:
                transport.lend(self._reclaim)

    def _describe(self, lent: LentReign, transports: Sequence[WireTransport | None]) -> None:
        state = self._state
        ctypes.memset(state.lines, 0, ctypes.sizeof(state.lines))
        for line, peer, transport in zip(state.lines, lent.peers, transports, strict=False):
            line.acked, line.next, line.told, line.stream = peer.acked, peer.next, peer.told, peer.stream
            line.streaming, line.feeding, line.code = peer.streaming, peer.feeding, native.LATER
            if transport is not None:
                line.to, line.fd, line.member = transport.wire.pointer, transport.fileno, transport.member
        state.epoch, state.start, state.first, state.offered = lent.epoch, lent.start, lent.end, lent.end
        state.durable, state.limit, state.beat, state.beat_count = lent.durable, lent.limit, lent.beat, 0
        state.announce_at, state.generation = lent.announce_at or 0.0, self._members.config.generation
        state.special = state.violated = 0

    # --- and back -------------------------------------------------------------------------------------------------

    def take(self, now: float) -> None:
        """Take it back if it is lent. SafetyViolated if the library has broken the rules."""
        borrowed, self._borrowed = self._borrowed, None
        if borrowed is None:
            return
        state, size = self._state, ctypes.c_size_t()
        log, rest = ctypes.c_void_p(), ctypes.c_void_p()
        places = (ctypes.byref(each) for each in (log, rest, size))
        self._library.reign_take(self._reign, ctypes.byref(state), *places)
        done = state.offered - state.first
        waiting = ctypes.string_at((log.value or 0) + done, state.end - state.offered)
        sent = ctypes.string_at(log, done)
        try:
            if state.violated:
                raise SafetyViolated("a member acked log that it was not sent")
            self._core.advance(self._deeds(borrowed, sent), now)
        finally:
            self._writer.take_back(state, waiting, ctypes.string_at(rest, size.value))
            for transport, line in zip(borrowed.transports, state.lines, strict=False):
                if transport is not None:
                    transport.take_back(line.code)

    def _deeds(self, borrowed: _Borrowed, log: bytes) -> ReignDeeds:
        state = self._state
        beats = list(zip(state.beats[: state.beat_count], state.beats_at[: state.beat_count], strict=True))
        return ReignDeeds(
            log=log,
            durable=Lsn(state.durable),
            beat=state.beat,
            announce_at=state.announce_at or None,
            peers={id: _told(line, beats) for id, line in zip(borrowed.members, state.lines, strict=False)},
        )


def _told(line: native.ReignLine, beats: list[tuple[int, float]]) -> PeerDeeds:
    return PeerDeeds(
        acked=Lsn(line.acked),
        next=Lsn(line.next),
        told=Lsn(line.told),
        feeding=bool(line.feeding),
        answered=line.answered,
        generation=line.generation,
        beats=[beat for beat in beats if line.beat_first <= beat[0] <= line.beat_last],
    )
