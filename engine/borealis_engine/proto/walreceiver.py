"""The receiving peer of physical replication: how the log writer takes WAL from its own PostgreSQL.

Sans-IO. It starts streaming by itself as soon as the server is ready for queries. The invariant: WAL is given out
contiguously from `start`; anything else is a WireError, never repaired.
"""

from enum import Enum, auto

from borealis_engine.contract.volume import Epoch, Lsn, format_lsn
from borealis_engine.proto import pgwire
from borealis_engine.proto.pgwire import Keepalive, WireError, XLogData


class Phase(Enum):
    """Where the conversation is."""

    STARTING = auto()
    READY = auto()  # connected
    IDENTIFYING = auto()
    ASKED = auto()
    STREAMING = auto()
    ENDED = auto()  # the server ended the copy: nothing more comes


class StreamRefused(WireError):
    """The server answered with an error; `sqlstate` tells which."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields.get("M", "unknown error"))
        self.sqlstate = fields.get("C", "")


class WalReceiver:
    """One streaming connection to the slot `slot` of a PostgreSQL on timeline `timeline`, from `start` on.

    `options` are parameters of the session, as libpq takes them. `held` lets it only connect until `release`.
    """

    def __init__(
        self, *, user: str, name: str, slot: str, start: Lsn, timeline: Epoch, options: str = "", held: bool = False
    ) -> None:  # fmt: skip
        self.phase = Phase.STARTING
        self.position = start
        self.backend = 0  # process id of the walsender, once it is told (BackendKeyData)
        self.reply_requested = False
        self._held = held
        self._inbox = pgwire.Inbox()
        self._command = f'START_REPLICATION SLOT "{slot}" PHYSICAL {format_lsn(start)} TIMELINE {timeline}'
        parameters = {"user": user, "replication": "true", "database": "replication", "application_name": name}
        if options:
            parameters["options"] = options
        self._outbox = bytearray(pgwire.render_startup(parameters))

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes of the server and give the WAL in them; StreamRefused or WireError if there can be no more."""
        self._inbox.receive_data(data)
        return b"".join(self._handle(each) for each in self._inbox.packets())

    def data_to_send(self) -> bytes:
        """Take what is to be sent."""
        data = bytes(self._outbox)
        self._outbox.clear()
        return data

    def surrender(self) -> bytes:
        """Give away the beginning of a message that has come: somebody else reads on, up to `go_on`."""
        return self._inbox.surrender()

    def go_on(self, position: Lsn, data: bytes) -> None:
        """Go on at `position`, with `data` in front of what comes."""
        self.position = position
        self._inbox.receive_data(data)

    def status(self, durable: Lsn, now: float) -> None:
        """Report everything below `durable` as written, flushed and applied: commits up to there are released."""
        if self.phase is Phase.STREAMING:
            self.reply_requested = False
            self._outbox += pgwire.render_status(durable, durable, durable, now)

    def release(self) -> None:
        """Start streaming after `held`, on a server that has been promoted meanwhile.

        A walsender that was connected to a standby would never count as synchronous (SyncRepGetStandbyPriority). It
        looks whether it still is on one when it is asked to identify the system (IdentifySystem, walsender.c).
        """
        self._query("IDENTIFY_SYSTEM", Phase.IDENTIFYING)

    def _query(self, command: str, phase: Phase) -> None:
        self._outbox += pgwire.packet(b"Q", command.encode() + b"\0")
        self.phase = phase

    def _handle(self, packet: pgwire.Packet) -> bytes:
        match packet.kind:
            case b"d":
                return self._streamed(pgwire.parse_sent(packet.body))
            case b"E":
                raise StreamRefused(pgwire.parse_error(packet.body))
            case b"R":
                if packet.body[:4] != bytes(4):
                    raise WireError("the server asks for a password on its local socket")
            case b"K":
                self.backend = int.from_bytes(packet.body[:4], "big")
            case b"Z" if self.phase is Phase.STARTING:
                self.phase = Phase.READY
                if not self._held:
                    self._query(self._command, Phase.ASKED)
            case b"Z" if self.phase is Phase.IDENTIFYING:
                self._query(self._command, Phase.ASKED)
            case b"W":
                self.phase = Phase.STREAMING
            case b"c" | b"C" if self.phase is not Phase.IDENTIFYING:
                self.phase = Phase.ENDED
        return b""

    def _streamed(self, sent: XLogData | Keepalive | None) -> bytes:
        if isinstance(sent, Keepalive):
            self.reply_requested |= sent.reply_requested
        if not isinstance(sent, XLogData):
            return b""
        if sent.lsn != self.position:
            raise WireError(f"WAL at {format_lsn(sent.lsn)} instead of {format_lsn(self.position)}")
        self.position = Lsn(sent.lsn + len(sent.data))
        return sent.data
