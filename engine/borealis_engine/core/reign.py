"""The owner of an epoch: brings members to its entry, streams WAL to them, counts acks, keeps the lease.

Rules that live here: D is what four members acked, and nothing below the entry's start counts; it is announced with
the next append, and alone, if none goes out within ANNOUNCE_S, to members that feed readers; the lease runs from the
time of *sending* of what four members answered. No work is done per record, and what is kept in memory is bounded by
the window.

While a member is replaced, "four" means four of the old six and four of the new (`quorum`), and who joins begins only
once four of the old six have acked under the joint configuration: from then on nobody who knows only an older one can
decide anything, and the joiner's promise is no lower than any that four of them gave before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn, VolumeConfig
from borealis_engine.core.effects import DurableAdvanced, Elected, ImageExtent, Reconnect, SendTo, WriterEffect
from borealis_engine.core.errors import Misuse
from borealis_engine.core.history import common_point
from borealis_engine.core.journal import NOBODY, NOWHERE
from borealis_engine.core.messages import (
    Ack,
    Append,
    Begin,
    Begun,
    History,
    Message,
    Position,
    Promise,
    Reason,
    Refused,
    RoomLeft,
    Solicit,
)
from borealis_engine.core.peer import NEVER, Peer, Stage
from borealis_engine.core.quorum import blocks, covered, covered_time, elects, joiner, sixes
from borealis_engine.core.room import UNBOUNDED
from borealis_engine.core.window import Window

RETRY_S: Final = 0.5  # seconds after which an unanswered Solicit is repeated
ADOPT_S: Final = 0.05  # seconds that a member has to adopt a configuration that it was told
PIECE: Final = 256 * 1024  # bytes of one append to a member that is behind
IN_FLIGHT: Final = 8 * 1024 * 1024  # bytes sent to a member and not acked
LEASE_SHARE: Final = 0.8  # of the nodes' lease: ours ends first, and leaves time to stop PostgreSQL
BEATS_PER_LEASE: Final = 8
ANNOUNCE_S: Final = 0.001  # seconds that D waits for an append to ride on: a message to each member less per commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposed:
    """The reign is over: outbid (`fenced`), or no quorum was heard for the lease."""

    reason: str
    fenced: bool


class Reign:
    """An epoch won. Its log is known only after `open`; heartbeats hold the lease from the first moment."""

    def __init__(
        self,
        *,
        epoch: Epoch,
        owner: str,
        config: VolumeConfig,
        peers: list[Peer],
        emit: Callable[[WriterEffect], None],
        lease: float,
        limit: int,
    ) -> None:
        self.epoch = epoch
        self.history: History = ()
        self.found = (0, 0)  # rank of the log that this reign carries on
        self.durable: Lsn = NOWHERE  # D; 0 until established
        self.window = Window(NOWHERE, limit)
        self.deposed: Deposed | None = None
        self.announce_at: float | None = None  # when D goes out alone unless an append takes it along
        self._owner, self._emit = owner, emit
        self._lease_held = NEVER  # until when the lease was held as the configuration changed
        self._follow(config, peers)
        self._lease, self.limit = lease, limit
        self._image: ImageExtent | None = None  # if this reign made it
        self._zeros = 0
        self.beat = 0

    # --- state --------------------------------------------------------------------------------------------------

    @property
    def lease_until(self) -> float:
        """When the lease ends unless more answers come."""
        heard = (
            covered_time(p.heard if p.acked or not p.joiner else NEVER for p in peers) for peers in self._sixes_of_peers
        )
        return max(self._lease_held, min(heard) + LEASE_SHARE * self._lease)

    @property
    def joint(self) -> bool:
        """Whether a member is being replaced."""
        return len(self._sixes) > 1

    @property
    def room(self) -> int:
        """Bytes that may be offered before D must advance, and for which four members have room."""
        if not self.durable:
            return 0
        room, horizon = self.limit // 2 - (self.window.end - self.durable), self.horizon
        return max(0, room if horizon is None else min(room, horizon - self.window.end))

    @property
    def horizon(self) -> Lsn | None:
        """The log for which four members in step have room, while joint of each six; None: too few have said."""
        six = [
            covered(p.upto for p in peers if p.upto and p.stage is Stage.STREAMING) for peers in self._sixes_of_peers
        ]
        return Lsn(min(six)) if min(six) else None

    def open(self, history: History, zeros: int, image: ImageExtent | None, now: float) -> None:
        """The log is known: it goes on at `history[-1].start`, above `zeros` bytes of padding."""
        self.history, self._zeros, self._image = history, zeros, image
        self.window = Window(history[-1].start, self.limit)
        self._join_waiting(now)

    # --- configuration ------------------------------------------------------------------------------------------

    def configure(self, config: VolumeConfig, peers: list[Peer], now: float) -> None:
        """Go on under another configuration, with its peers: D stays, and moves on by its quorums only.

        The lease that the older quorum has given stays too: any later election meets that quorum, and has to wait.
        """
        self._lease_held = self.lease_until
        gone = [peer for peer in self.peers if peer not in peers]
        self._follow(config, peers)
        for peer in gone:
            self.disconnected(peer, now)
        self.count(now)

    def _follow(self, config: VolumeConfig, peers: list[Peer]) -> None:
        self._generation, self._sixes, self.peers = config.generation, sixes(config), peers
        self._sixes_of_peers = tuple([peer for peer in peers if peer.id in six] for six in self._sixes)
        for peer in peers:
            peer.joiner = peer.id == joiner(config)

    @property
    def _in_force(self) -> bool:
        """Whether four of the old six have acked this epoch under the configuration, so that no older one decides."""
        return elects(self._sixes[:1], [p.id for p in self.peers if p.generation >= self._generation])

    # --- members ------------------------------------------------------------------------------------------------

    def promised(self, peer: Peer, position: Position, now: float) -> None:
        """`peer` has promised the epoch and stands at `position`: let it join."""
        peer.stage, peer.position = Stage.PROMISED, position
        if position.durable and position.known > self.found and not self.durable:
            self.deposed = Deposed(reason=f"{peer.id} knows a D that the log found does not reach", fenced=False)
            return
        self._join(peer, now)

    def solicit(self, peer: Peer, now: float) -> None:
        """Ask a member that came late, or whose state is unclear, to promise and to say where it stands."""
        peer.stage, peer.asked_at = Stage.OUT, now
        self._emit(SendTo(member=peer.id, message=Solicit(epoch=self.epoch, owner=self._owner)))

    def disconnected(self, peer: Peer, now: float) -> None:
        """Those who joined with its help need another donor."""
        for other in self.peers:
            if other.stage is Stage.JOINING and other.begin is not None and other.begin.donor == peer.id:
                other.stage = Stage.PROMISED
        self._join_waiting(now)

    def stored(self, peer: Peer, now: float) -> None:
        """It holds the image made by this reign."""
        peer.stored = True
        self._join(peer, now)

    def _join_waiting(self, now: float) -> None:
        for peer in self.peers:
            self._join(peer, now)

    def _join(self, peer: Peer, now: float) -> None:
        """Send Begin, unless a donor is needed and none is there yet: then again when one is."""
        if not self.history or peer.stage is not Stage.PROMISED or peer.position is None:
            return
        if peer.joiner and not self._in_force:
            return
        start = self.history[-1].start
        common = common_point(peer.position.history, peer.position.flush, self.history)
        if common is None and peer.stored and self._image is not None:
            common = self._image.end
        has_all = common is not None and common >= start - self._zeros
        late = max(common or start, start) < self.window.start
        donor = self._donor()
        if donor is None and (late or not has_all):
            return
        upto = donor.acked if donor is not None and late else NOWHERE
        peer.begin = Begin(
            epoch=self.epoch,
            history=self.history,
            donor=donor.id if donor is not None else "",
            zeros=self._zeros,
            upto=upto,
            stream=peer.stream,
        )
        peer.stage, peer.asked_at = Stage.JOINING, now
        self._emit(SendTo(member=peer.id, message=peer.begin))

    def _donor(self) -> Peer | None:
        """The member that streams and holds most; not one that is joining itself."""
        streaming = [p for p in self.peers if p.connected and p.stage is Stage.STREAMING and not p.joiner]
        able = [p for p in streaming if p.acked >= self.window.start]
        return max(able, key=lambda peer: peer.acked, default=None)

    # --- messages -----------------------------------------------------------------------------------------------

    def receive(self, peer: Peer, message: Message, now: float) -> None:
        """Take an answer of a member; acks go to `acknowledged`."""
        match message:
            case Begun(epoch=epoch, flush=flush):
                if epoch == self.epoch and self.history:
                    self._begun(peer, flush, now)
            case Promise(epoch=epoch) if epoch == self.epoch:
                self._promise(peer, message, now)
            case RoomLeft(epoch=epoch, upto=upto):
                if epoch == self.epoch:
                    peer.upto = upto
                    self.pump(peer, now)
            case Refused():
                self._refused(peer, message, now)
            case _:
                pass

    def acknowledged(self, peer: Peer, ack: Ack, now: float) -> None:
        """Take what `peer` says that it holds durably: an ack comes from each member with each commit."""
        epoch, flush, beat, feeding = ack
        if epoch == self.epoch:
            peer.feeding = feeding
            peer.answered(beat)
            self._acked(peer, flush, now)

    def _promise(self, peer: Peer, promise: Promise, now: float) -> None:
        if promise.promised > self.epoch:
            self._outbid(peer, promise.promised)
        elif promise.granted and peer.stage is Stage.OUT:
            peer.outbid = NOBODY
            self.promised(peer, promise.position, now)

    def _begun(self, peer: Peer, flush: Lsn, now: float) -> None:
        if flush > self.window.end:
            self._emit(Reconnect(member=peer.id, reason=f"it claims log up to {flush}, beyond what was written"))
            return
        if peer.stage is Stage.JOINING:
            peer.stage, peer.next = Stage.STREAMING, flush
        self._acked(peer, flush, now)
        self._join_waiting(now)

    def _acked(self, peer: Peer, flush: Lsn, now: float) -> None:
        if flush > peer.acked:
            peer.acked = flush
            if flush > self.durable:
                self.count(now)
        if peer.next != self.window.end:
            self.pump(peer, now)

    def _refused(self, peer: Peer, refused: Refused, now: float) -> None:
        if refused.promised > self.epoch:
            self._outbid(peer, refused.promised)
        elif refused.reason in (Reason.GAP, Reason.STALE) and peer.stage is Stage.STREAMING:
            self.solicit(peer, now)
        elif refused.reason is Reason.UNKNOWN and peer.stage is Stage.JOINING:
            peer.stage, peer.asked_at = Stage.OUT, now
        elif refused.reason is Reason.CONFIG and refused.generation == self._generation and peer.stage is not Stage.OUT:
            self.solicit(peer, now)  # what was under way as the generation changed is refused: go on where it stands
            self.disconnected(peer, now)
        elif refused.reason in (Reason.UNFIT, Reason.CONFIG, Reason.FULL):
            peer.stage = Stage.OUT
            peer.asked_at = now - RETRY_S + ADOPT_S if refused.reason is Reason.CONFIG else now
            self.disconnected(peer, now)

    def _outbid(self, peer: Peer, promised: Epoch) -> None:
        peer.outbid, peer.stage = promised, Stage.OUT
        lost = [p for p in self.peers if p.outbid]
        if blocks(self._sixes, [p.id for p in lost]):
            names = ", ".join(f"{p.id} promised {p.outbid}" for p in lost)
            self.deposed = Deposed(reason=f"epoch {self.epoch} is outbid: {names}", fenced=True)

    # --- D ------------------------------------------------------------------------------------------------------

    def count(self, now: float) -> None:
        """Move D to what four members hold; the first time that establishes the reign."""
        if not self.history or (durable := self._covered()) <= self.durable:
            return
        if not self.durable:
            self._emit(Elected(epoch=self.epoch, history=self.history, end=self.history[-1].start))
        self.durable = durable
        self._emit(DurableAdvanced(lsn=durable))
        self.window.trim(durable)
        if self.announce_at is None and any(peer.feeding for peer in self.peers):
            self.announce_at = now + ANNOUNCE_S
        for peer in self.peers:
            if peer.next != self.window.end:
                self.pump(peer, now)

    def _covered(self) -> Lsn:
        """What four members of each six hold; who ends below the entry's start does not hold it (Raft, figure 8)."""
        start, sixes = self.history[-1].start, self._sixes_of_peers
        durable = covered(peer.acked for peer in sixes[0] if peer.acked >= start)
        if len(sixes) > 1:
            durable = min(durable, covered(peer.acked for peer in sixes[1] if peer.acked >= start))
        return Lsn(durable)

    def announce(self) -> None:
        """Tell D to the members in step that feed readers and have not heard it; others hear it later."""
        self.announce_at = None
        for peer in self.peers:
            if (
                peer.feeding
                and peer.stage is Stage.STREAMING
                and peer.told < self.durable
                and peer.next == self.window.end
            ):
                self._send(peer, peer.next, b"", beat=0)

    # --- WAL ----------------------------------------------------------------------------------------------------

    def offer(self, lsn: Lsn, data: bytes, now: float) -> None:
        """Take WAL of the epoch and send it to all who are in step."""
        if not self.durable:
            raise Misuse("WAL was offered before the reign is established")
        if data:
            self.window.append(lsn, data)
            self.announce_at = None  # D rides; who is behind gets it with what it lacks
            for peer in self.peers:
                self.pump(peer, now)

    def pump(self, peer: Peer, now: float) -> None:
        """Send what `peer` lacks, as far as the window and the bytes in flight allow."""
        if peer.stage is not Stage.STREAMING:
            return
        if peer.next < self.window.start:
            self.solicit(peer, now)
            return
        upto = UNBOUNDED if peer.upto is None else peer.upto
        while peer.next < min(self.window.end, upto) and peer.next - peer.acked < IN_FLIGHT:
            data = self.window.piece(peer.next, min(PIECE, upto - peer.next))
            self._send(peer, peer.next, data, beat=self._next_beat(peer, now))
            peer.next = Lsn(peer.next + len(data))

    def _send(self, peer: Peer, lsn: Lsn, data: bytes, *, beat: int) -> None:
        peer.told = self.durable
        append = Append(epoch=self.epoch, stream=peer.stream, lsn=lsn, durable=self.durable, data=data, beat=beat)
        self._emit(SendTo(member=peer.id, message=append))

    def _next_beat(self, peer: Peer, now: float) -> int:
        self.beat += 1
        peer.beats.append((self.beat, now))
        peer.beat_at = now
        return self.beat

    # --- time ---------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Send heartbeats, ask again those who are out, and look at the lease."""
        if now >= self.lease_until:
            self.deposed = Deposed(
                reason=f"no quorum answered what was sent after {self.lease_until:.3f}", fenced=False
            )
            return
        if self.announce_at is not None and now >= self.announce_at:
            self.announce()
        for peer in self.peers:
            if peer.connected:
                self._attend(peer, now)
        self._join_waiting(now)

    def _attend(self, peer: Peer, now: float) -> None:
        if peer.beats and now - peer.beats[0][1] >= self._lease:
            self._emit(Reconnect(member=peer.id, reason="it answered nothing for the lease"))
            peer.beats.clear()
        elif peer.stage is Stage.OUT:
            if now - peer.asked_at >= RETRY_S:  # also if outbid: that promise may prove void
                self.solicit(peer, now)
        elif now - peer.beat_at >= self._lease / BEATS_PER_LEASE:
            self._send(peer, self.window.end, b"", beat=self._next_beat(peer, now))
