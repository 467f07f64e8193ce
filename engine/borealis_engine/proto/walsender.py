"""The sending peer of physical replication, as far as PostgreSQL's walreceiver asks for it.

Sans-IO: `receive_data` gives what the receiver asks, the methods put answers into `data_to_send`. What may be sent,
and under which timeline, is decided above. Source: replication/walsender.c, libpqwalreceiver.c (PostgreSQL 15 to 18).
The invariant: inside a copy nothing but copy messages is sent, and the end of a timeline is told with *two*
CommandComplete, for which libpqrcv_endstreaming waits.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from borealis_engine.contract.volume import Epoch, Lsn, format_lsn, parse_lsn
from borealis_engine.proto import pgwire
from borealis_engine.proto.pgwire import OID_BYTEA, OID_INT8, OID_TEXT, StandbyStatus, WireError
from borealis_engine.proto.wal import PAGE

MAX_SEND: Final = 131_072  # MAX_SEND_SIZE of walsender.c
_READY: Final = pgwire.packet(b"Z", b"I")
_COPY_BOTH: Final = pgwire.packet(b"W", struct.pack("!bh", 0, 0))
_START: Final = re.compile(
    r'START_REPLICATION\s+(?:SLOT\s+"?\w+"?\s+)?(?:PHYSICAL\s+)?([0-9A-F]+/[0-9A-F]+)(?:\s+TIMELINE\s+(\d+))?$', re.I
)
_HISTORY: Final = re.compile(r"TIMELINE_HISTORY\s+(\d+)$", re.I)


class Phase(Enum):
    """Where the conversation is."""

    STARTUP = auto()
    IDLE = auto()
    COPY = auto()
    COPY_DONE = auto()  # we said CopyDone and wait for the receiver's
    CLOSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """IDENTIFY_SYSTEM: answer with `identify`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskHistory:
    """TIMELINE_HISTORY: answer with `history` or `refuse`."""

    timeline: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """START_REPLICATION: answer with `start_copy`, `end_of_timeline` or `refuse`."""

    lsn: Lsn
    timeline: Epoch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyEnded:
    """The receiver ended the copy, by itself or in answer to `end_copy`; then answer with `end_of_timeline`."""

    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The receiver takes its leave."""


Event: TypeAlias = Identify | AskHistory | Start | CopyEnded | Gone | StandbyStatus


class WalSender:
    """One connection of a receiver."""

    def __init__(self, server_version: str) -> None:
        self.phase = Phase.STARTUP
        self._inbox = pgwire.Inbox()
        self._outbox = bytearray()
        self._server_version = server_version

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes of the receiver; WireError if it breaks the protocol."""
        self._inbox.receive_data(data)
        while self.phase is Phase.STARTUP and (request := self._inbox.startup()) is not None:
            self._greet(request)
        if self.phase in (Phase.STARTUP, Phase.CLOSED):
            return []
        return [event for each in self._inbox.packets() for event in self._events(each)]

    def data_to_send(self) -> bytes:
        """Take what is to be sent."""
        data = bytes(self._outbox)
        self._outbox.clear()
        return data

    def identify(self, system_identifier: int, timeline: Epoch, position: Lsn) -> None:
        """Answer IDENTIFY_SYSTEM; the receiver then fetches the histories of all timelines up to `timeline`."""
        columns = (("systemid", OID_TEXT), ("timeline", OID_INT8), ("xlogpos", OID_TEXT), ("dbname", OID_TEXT))
        values = (str(system_identifier).encode(), str(timeline).encode(), format_lsn(position).encode(), None)
        self._outbox += pgwire.render_row(columns, values) + _complete("IDENTIFY_SYSTEM") + _READY

    def history(self, timeline: Epoch, content: bytes) -> None:
        """Answer TIMELINE_HISTORY; empty content for a timeline that never was."""
        columns = (("filename", OID_TEXT), ("content", OID_BYTEA))
        values = (f"{timeline:08X}.history".encode(), content)
        self._outbox += pgwire.render_row(columns, values) + _complete("TIMELINE_HISTORY") + _READY

    def refuse(self, message: str, sqlstate: str = "58000") -> None:
        """Answer a command with an error; the receiver disconnects and comes again."""
        self._outbox += pgwire.render_error(severity="ERROR", sqlstate=sqlstate, message=message) + _READY

    def start_copy(self) -> None:
        """Answer START_REPLICATION: from now on `wal` and `keepalive`."""
        self.phase = Phase.COPY
        self._outbox += _COPY_BOTH

    def wal(self, lsn: Lsn, data: bytes | memoryview, wal_end: Lsn, now: float) -> None:
        """Send WAL at `lsn` up to the end of a record, in pieces; the receiver writes it wherever we say.

        A piece ends at a page boundary or with the data: PostgreSQL copies the part of a record that lies in its first
        page without asking whether more than the header has come (XLogDecodeNextRecord, XLogSendPhysical).
        """
        at = 0
        while at < len(data):
            end = at + MAX_SEND
            if end < len(data):
                end -= (lsn + end) % PAGE
            self._outbox += pgwire.render_xlog_data(Lsn(lsn + at), wal_end, data[at:end], now)
            at = end

    def keepalive(self, wal_end: Lsn, now: float, *, reply: bool = False) -> None:
        """Show life, and where the log ends."""
        self._outbox += pgwire.render_keepalive(wal_end, now, reply=reply)

    def end_copy(self) -> None:
        """Say that this timeline has no more; the receiver answers (CopyEnded)."""
        self.phase = Phase.COPY_DONE
        self._outbox += pgwire.packet(b"c")

    def end_of_timeline(self, following: tuple[Epoch, Lsn] | None) -> None:
        """Close START_REPLICATION, with the timeline that follows and where it began, if there is one."""
        if following is not None:
            columns = (("next_tli", OID_INT8), ("next_tli_startpos", OID_TEXT))
            values = (str(following[0]).encode(), format_lsn(following[1]).encode())
            self._outbox += pgwire.render_row(columns, values)
        self._outbox += _complete("START_STREAMING") + _complete("START_REPLICATION") + _READY
        self.phase = Phase.IDLE

    def _greet(self, request: bytes) -> None:
        code, _parameters = pgwire.parse_startup(request)
        if code in (pgwire.SSL_REQUEST, pgwire.GSS_REQUEST):
            self._outbox += b"N"
        elif code == pgwire.PROTOCOL_3:
            self._outbox += self._welcome()
            self.phase = Phase.IDLE
        elif code == pgwire.CANCEL_REQUEST:
            self.phase = Phase.CLOSED
        else:
            raise WireError(f"protocol {code >> 16}.{code & 0xFFFF} is not spoken here")

    def _welcome(self) -> bytes:
        settings = {
            "server_version": self._server_version,
            "server_encoding": "UTF8",
            "client_encoding": "UTF8",
            "integer_datetimes": "on",
        }
        told = b"".join(pgwire.packet(b"S", f"{k}\0{v}\0".encode()) for k, v in settings.items())
        return pgwire.packet(b"R", bytes(4)) + told + pgwire.packet(b"K", bytes(8)) + _READY

    def _events(self, packet: pgwire.Packet) -> Iterator[Event]:
        if packet.kind == b"X":
            self.phase = Phase.CLOSED
            yield Gone()
        elif packet.kind == b"Q":
            yield from self._command(packet.body.rstrip(b"\0").decode(errors="replace").strip().rstrip(";"))
        elif packet.kind == b"d":
            if (status := pgwire.parse_reply(packet.body)) is not None:
                yield status
        elif packet.kind in (b"c", b"f") and self.phase in (Phase.COPY, Phase.COPY_DONE):
            yield self._copy_ended()
        else:
            raise WireError(f"message {packet.kind!r} in {self.phase.name}")

    def _copy_ended(self) -> CopyEnded:
        asked = self.phase is Phase.COPY_DONE
        if not asked:
            self._outbox += pgwire.packet(b"c")
        self.phase = Phase.COPY_DONE
        return CopyEnded(asked=asked)

    def _command(self, text: str) -> Iterator[Event]:
        if self.phase is not Phase.IDLE:
            raise WireError(f"a command in {self.phase.name}")
        if text.upper() == "IDENTIFY_SYSTEM":
            yield Identify()
        elif match := _HISTORY.match(text):
            yield AskHistory(timeline=Epoch(int(match[1])))
        elif match := _START.match(text):
            yield Start(lsn=parse_lsn(match[1]), timeline=Epoch(int(match[2])) if match[2] else None)
        else:
            self.refuse(f"this feed does not know the command {text[:80]!r}", "42601")


def _complete(tag: str) -> bytes:
    return pgwire.packet(b"C", tag.encode() + b"\0")
