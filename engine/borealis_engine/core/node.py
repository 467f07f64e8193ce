"""One storage node's side of the log protocol, as a pure state machine.

Rules that live here: a promise is durable before it is answered and never broken; appends are contiguous; an ack
covers only durable bytes of the promised epoch; D is believed only in an epoch whose entry is held; readers see
nothing above D. Truncation and entry are in `joining`, the order of durability in `pipeline`. Only messages of the
node's own generation are heard, and a node that its configuration does not name is retired: it takes part in nothing.

A shell gives messages and times in, drains `effects()` after every input and carries them out in order.
"""

from collections.abc import Callable, Mapping

from borealis_engine.contract.volume import Epoch, Lsn, MemberId, VolumeConfig
from borealis_engine.core.custody import claim, objection
from borealis_engine.core.effects import Adopt, Conn, ImageExtent, NodeEffect, OutOfService, Readable, Send
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.joining import Joining
from borealis_engine.core.journal import NOWHERE, DurableState, Logged, Promised, Resigned
from borealis_engine.core.messages import (
    Ack,
    Append,
    Begin,
    Canvass,
    Envelope,
    GetImage,
    History,
    Message,
    Position,
    Promise,
    PutImage,
    Read,
    Reason,
    Refused,
    Resign,
    Solicit,
    Subscribe,
)
from borealis_engine.core.pipeline import Pipeline
from borealis_engine.core.room import Room
from borealis_engine.core.serving import Serving
from borealis_engine.core.standing import is_news, is_retired, retirement, told, unfitness
from borealis_engine.core.steady import Steady
from borealis_engine.core.tenure import Tenure
from borealis_engine.core.watermark import Watermark


class Node:
    """A storage node. All times are seconds of one monotonic clock."""

    def __init__(
        self,
        *,
        member: MemberId,
        config: VolumeConfig,
        durable: DurableState,
        images: Mapping[str, ImageExtent],
        lease: float,
        now: float,
        unfit: str = "",
    ) -> None:
        """Start from what the disk holds; `unfit` (e.g. disk lost) makes a node that refuses everything."""
        self.member = member
        self.config = config
        self.unfit = unfit or retirement(config, member)  # why the node is out of service; empty if it is not
        self.objection = ""  # why a reign was not joined that would have voided what was acknowledged
        self._pipe = Pipeline(durable)
        self._images = dict(images)
        self._tenure = Tenure(lease=lease, now=now)
        self._effects: list[NodeEffect] = []
        emit = self._effects.append
        self._mark = Watermark(durable)
        self._joining = Joining(pipe=self._pipe, images=self._images, emit=emit, refuse=self._refuse)
        self.serving = Serving(pipe=self._pipe, mark=self._mark, images=self._images, emit=emit, refuse=self._refuse)
        self._told: tuple[Lsn, History] | None = None  # what those who feed readers know
        self._stream = 0  # newest of the owner's connections
        self.room = Room(self._pipe, emit)
        self._beats: dict[Conn, int] = {}  # newest beat heard with data
        self.steady = Steady(pipe=self._pipe, mark=self._mark, tenure=self._tenure, beats=self._beats)
        self._acking: set[Conn] = set()  # connections whose ack goes with the sync that is being filled
        self._in_step: Lsn | None = None  # D that the promised reign named when all below it was here, at last queued

    # --- what the shell may look at -----------------------------------------------------------------------------

    @property
    def durable(self) -> DurableState:
        """What is on the disk, as far as `persisted` said."""
        return self._pipe.held

    @property
    def position(self) -> Position:
        """What the node may claim in an election: nothing before all log that came with its image is there."""
        return claim(self._pipe.held, known=(self._mark.epoch, self._mark.lsn), image_here=self.has_image)

    @property
    def has_image(self) -> bool:
        """Whether the image of this node's history is here, and can be read as far as is known."""
        return any(reign.image in self._images for reign in self._pipe.held.history[:1])

    @property
    def retired(self) -> bool:
        """Whether another member has taken this one's place, or its joining was given up."""
        return is_retired(self.config, self.member)

    @property
    def backlog(self) -> int:
        """Bytes of log that wait for the disk: pause pulling while it is large."""
        return self._pipe.backlog

    @property
    def catching_up(self) -> bool:
        """Whether log may be missing on the disk: nobody is in step until the reign's own word has shown it."""
        if self._joining.active or self._in_step is None:
            return True
        held = self._pipe.held
        return held.flush < self._in_step or held.epoch != self._pipe.seen.epoch

    @property
    def feeding(self) -> bool:
        """Whether readers follow the log here: `effects` has news for them after each advance."""
        return bool(self.serving.feeds)

    @property
    def readable(self) -> Lsn:
        """Readers may be sent the log below this: D as far as it is held here."""
        return self.serving.readable

    @property
    def feed_history(self) -> History:
        """What readers may be told: reigns up to the one that announced D."""
        return self._mark.history(self._pipe.held)

    def serves(self, epoch: Epoch) -> bool:
        """Whether a read bound to `epoch` may still be served (0: always); ask after reading each piece."""
        return (not self.unfit or self.serving.salvages) and self.serving.serves(epoch)

    # --- inputs -------------------------------------------------------------------------------------------------

    def receive(self, conn: Conn, envelope: Envelope, now: float) -> None:
        """Take a message from a connection (any peer: writer, candidate, member, reader)."""
        self.steady.revoke()
        config = self.config
        if isinstance(envelope.message, Refused):
            offered = told(envelope.message)
            if offered is not None and is_news(offered, config):
                self._effects.append(Adopt(config=offered))
        elif not config.sealed or envelope.generation != config.generation or envelope.recipient != self.member:
            self._refuse(conn, Reason.CONFIG, f"{self.member} at generation {config.generation}", config.to_json())
        elif self.unfit and not (self.serving.salvages and isinstance(envelope.message, Read)):
            self._refuse(conn, Reason.UNFIT, self.unfit)
        else:
            try:
                self._dispatch(conn, envelope.message, now)
            except SafetyViolated as error:
                self.failed(f"safety: {error}")

    def extended(self, conn: Conn) -> bool:
        """What `steady.extend` gave is durable. True: ack it; False: what is to be said comes out of `effects`."""
        if self._pipe.extended():
            return conn in self._beats and not self.unfit
        self.persisted(self._pipe.token)
        self._in_service(lambda: self._ack_synced(conn))
        return False

    def measured(self, free: int, reserve: int) -> None:
        """The disk can take `free` bytes more, `reserve` of them not for plain log; the owner hears if that is news."""
        self.room.measured(free, reserve)
        self.steady.upto = self.room.upto
        self._in_service(self.room.tell)

    def closed(self, conn: Conn) -> None:
        """The connection is gone: nothing is sent on it any more."""
        self.steady.revoke()
        self.room.leave(conn)
        self._beats.pop(conn, None)
        self.serving.closed(conn)

    def persisted(self, token: int) -> None:
        """The records of Persist(token) are durable."""
        self._in_service(lambda: self._pipe.persisted(token))

    def failed(self, reason: str) -> None:
        """The disk failed or is full: the node acks nothing from here on."""
        if not self.unfit:
            self.unfit = reason
            self.steady.revoke()
            self._effects.clear()  # an answer in there may rest on what is not durable
            self._effects.append(OutOfService(reason=reason))

    def pulled(self, token: int, lsn: Lsn, data: bytes, now: float) -> None:
        """Bytes that Pull or LoadImage asked for, in order."""
        self._in_service(lambda: self._joining.pulled(token, lsn, data, now))

    def pull_failed(self, token: int, now: float) -> None:
        """The donor refused, is gone, or ended early; asked again later by the node itself."""
        self._joining.pull_failed(token, now)

    def image_arrived(self, image: str, extent: ImageExtent, now: float) -> None:
        """The blob is durable here (after PullImage or StoreImage)."""
        self._images[image] = extent
        self.serving.image_arrived(image)
        self._in_service(lambda: self._joining.image_known(now))

    def image_lost(self, image: str) -> None:
        """The blob turned out to be damaged: it is given to nobody until it has arrived anew."""
        self._images.pop(image, None)

    def image_failed(self, image: str, now: float) -> None:
        """PullImage came to nothing; asked again later by the node itself."""
        self._joining.image_failed(now)

    def configure(self, config: VolumeConfig) -> None:
        """Keep the higher configuration, which is durable: nothing of an older generation is heard from here on."""
        if config.version > self.config.version:
            why = unfitness(self.config, config, self.member, holds_log=bool(self.position.history))
            self.config = config
            self.steady.revoke()
            if why:
                self._joining.cancel()
                self.failed(why)

    def tick(self, now: float) -> None:
        """Do what is due; call at `next_deadline()` or more often."""
        self._in_service(lambda: self._tick(now))

    def _tick(self, now: float) -> None:
        self._joining.tick(now)
        due = self._mark.due is not None and now >= self._mark.due
        if due and (record := self._mark.record(self._pipe.seen)) is not None:
            self._pipe.add(record)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None: not before the next input."""
        if self.unfit:
            return None
        return min((due for due in (self._joining.deadline, self._mark.due) if due is not None), default=None)

    def effects(self) -> list[NodeEffect]:
        """Drain what is to be done, in order; all that was taken in since the last drain shares one sync."""
        if not self.unfit:
            self._settle()
        drained = self._effects[:]
        self._effects.clear()
        return drained

    # --- messages -----------------------------------------------------------------------------------------------

    def _dispatch(self, conn: Conn, message: Message, now: float) -> None:
        match message:
            case Append():
                self._append(conn, message, now)
            case Canvass():
                self._canvass(conn, message, now)
            case Solicit():
                self._solicit(conn, message, now)
            case Begin():
                self._begin(conn, message, now)
            case Resign():
                self._resign(message)
            case Read() | Subscribe() | GetImage() | PutImage():
                self.serving.request(conn, message)
            case _:
                self._refuse(conn, Reason.UNKNOWN, f"{type(message).__name__} is not for a storage node")

    def _canvass(self, conn: Conn, canvass: Canvass, now: float) -> None:
        consent = self._tenure.consent(canvass, self._pipe.seen, self.position, now)
        self._effects.append(Send(conn=conn, message=consent))

    def _solicit(self, conn: Conn, solicit: Solicit, now: float) -> None:
        """Promise, once everything buffered and the promise itself are durable; if asked again, answer again."""
        state = self._pipe.seen
        again = (solicit.epoch, solicit.owner) == (state.promised, state.owner) and not state.resigned
        if not again:
            if solicit.epoch <= state.promised or not self._tenure.free_for(solicit.owner, state, now):
                self._promise(conn, solicit.epoch, granted=False)
                return
            self._joining.cancel()
            self._tenure.replace(state)
            self._pipe.add(Promised(epoch=solicit.epoch, owner=solicit.owner))
            self._stream, self._in_step, self.room.owner = 0, None, None
            self._beats.clear()
        self._tenure.heard_at = now
        self._pipe.then(lambda: self._promise(conn, solicit.epoch, granted=True))

    def _resign(self, resign: Resign) -> None:
        if record := self._tenure.resign(resign, self._pipe.seen, joining=self._joining.active):
            self._pipe.add(record)
            self._in_step = self._in_step if isinstance(record, Resigned) else None

    def _promise(self, conn: Conn, epoch: Epoch, *, granted: bool) -> None:
        """Answer with the position as it is now: after the promise."""
        promised = self._pipe.seen.promised
        promise = Promise(epoch=epoch, granted=granted and promised == epoch, promised=promised, position=self.position)
        self._effects.append(Send(conn=conn, message=promise))

    def _begin(self, conn: Conn, begin: Begin, now: float) -> None:
        if self._is_owner(conn, begin.epoch) and self._is_newest(conn, begin.stream):
            if why := objection(begin, self._pipe.seen, self._mark.lsn):
                self.objection = why
                self._refuse(conn, Reason.UNKNOWN, why)
                return
            start = begin.history[-1].start
            if self.room.refuses(start, begin.upto):
                self._refuse(conn, Reason.FULL, f"no room for log up to {max(start, begin.upto)}")
                return
            self._tenure.heard_at = now
            self._joining.begin(conn, begin, now)

    def _is_owner(self, conn: Conn, epoch: Epoch) -> bool:
        """Whether a message of `epoch` is of the promised reign; refused if it is not."""
        state = self._pipe.seen
        if epoch < state.promised or (epoch == state.promised and state.resigned):
            self._refuse(conn, Reason.EPOCH, f"epoch {state.promised} is promised")
        elif epoch > state.promised:
            self._refuse(conn, Reason.GAP, f"epoch {epoch} was never promised here")
        else:
            return True
        return False

    def _is_newest(self, conn: Conn, stream: int) -> bool:
        """Whether no later connection of the owner was heard; refused if one was."""
        if stream < self._stream:
            self._refuse(conn, Reason.STALE, f"stream {stream} is older than {self._stream}")
            return False
        self._stream = stream
        return True

    def _append(self, conn: Conn, append: Append, now: float) -> None:
        if not self._is_owner(conn, append.epoch) or not self._is_newest(conn, append.stream):
            return
        self._tenure.heard_at = now
        self.room.owner = conn
        if append.data and not self._store(conn, append):
            return
        self._mark.announce(append.epoch, append.durable, self._pipe.held, now)
        if self._pipe.seen.epoch != append.epoch or append.durable > self._pipe.seen.flush:
            self._in_step = None
        elif self._in_step is None:
            self._in_step = append.durable
        if not append.data and append.beat:
            self._ack(conn, append.beat)
        if self._in_step is not None and self._mark.epoch == append.epoch:
            self.steady.grant(conn, append.epoch, append.stream, self.room.upto)

    def _store(self, conn: Conn, append: Append) -> bool:
        """Queue contiguous bytes of a reign whose entry is here, to be acked once durable."""
        state = self._pipe.seen
        if self._joining.active or state.epoch != append.epoch or append.lsn > state.flush:
            self._refuse(conn, Reason.GAP, f"append at {append.lsn}, log of {state.epoch} ends at {state.flush}")
            return False
        if append.lsn < state.flush:
            self._refuse(conn, Reason.STALE, f"append at {append.lsn}, the log ends at {state.flush}")
            return False
        if append.lsn + len(append.data) > self.room.upto:
            self.room.tell(always=True)
            self._refuse(conn, Reason.FULL, f"append at {append.lsn}, there is room up to {self.room.upto}")
            return False
        self._pipe.add(Logged(lsn=append.lsn, data=append.data))
        self._beats[conn] = append.beat
        if conn not in self._acking:
            self._acking.add(conn)
            self._pipe.then(lambda: self._ack_synced(conn))
        return True

    def _ack_synced(self, conn: Conn) -> None:
        """One ack for all that one sync took; none if the connection closed or another epoch was promised since."""
        beat = self._beats.get(conn)
        if beat is not None:
            self._ack(conn, beat)

    def _ack(self, conn: Conn, beat: int) -> None:
        """Tell what is durable of the promised epoch: nothing before its entry is."""
        held, promised = self._pipe.held, self._pipe.seen.promised
        flush = held.flush if held.epoch == promised else NOWHERE
        ack = Ack(epoch=promised, flush=flush, beat=beat, feeding=self.feeding)
        self._effects.append(Send(conn=conn, message=ack))

    def _refuse(self, conn: Conn, reason: Reason, message: str, config: str = "") -> None:
        promised, generation = self._pipe.seen.promised, self.config.generation
        refused = Refused(reason=reason, promised=promised, generation=generation, config=config, message=message)
        self._effects.append(Send(conn=conn, message=refused))

    # --- around every input ---------------------------------------------------------------------------------------

    def _in_service(self, work: Callable[[], None]) -> None:
        """Do `work`; out of service if it proves unsafe."""
        if self.unfit:
            return
        try:
            work()
        except SafetyViolated as error:
            self.failed(f"safety: {error}")

    def _settle(self) -> None:
        """Launch the next sync, and wake the feeds."""
        if (persist := self._pipe.launch()) is not None:
            self._acking.clear()
            self._effects.append(persist)
        if self.serving.feeds and (told := (self.readable, self.feed_history)) != self._told:
            self._told = told
            self._effects.append(Readable(upto=told[0]))
