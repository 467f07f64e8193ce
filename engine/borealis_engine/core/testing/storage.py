"""A simulated storage node: the real Node, and a shell around it that carries its effects out late and may crash."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Epoch, Generation, Lsn, Member, MemberId, VolumeConfig
from borealis_engine.core import messages as m
from borealis_engine.core.drain import Drain
from borealis_engine.core.effects import (
    Adopt,
    CancelPull,
    Close,
    Conn,
    LoadImage,
    NodeEffect,
    OutOfService,
    Persist,
    Pull,
    PullImage,
    Readable,
    Send,
    ServeFeed,
    ServeImage,
    ServeLog,
    StoreImage,
    Truncated,
)
from borealis_engine.core.journal import DurableState, Logged
from borealis_engine.core.node import Node
from borealis_engine.core.testing.blob import pack
from borealis_engine.core.testing.clockwork import Clock
from borealis_engine.core.testing.disk import FOR_GOOD, Disk, Rotten, Thing
from borealis_engine.core.testing.fetching import Fetching
from borealis_engine.core.testing.network import Link
from borealis_engine.core.testing.setting import Setting
from borealis_engine.core.testing.violation import Violation, require

RETRY_S: Final = 0.1  # seconds between attempts to mend
PIECE: Final = 512  # bytes of log sent at once
_EXTENDED: Final = 0  # for the token of a sync that the short way asked for


@dataclass(slots=True)
class Feed:
    """A reader's subscription."""

    link: Link
    at: Lsn
    told: m.History | None = None


class Storage:
    """One member: up or down, with its disk."""

    def __init__(
        self,
        *,
        member: Member,
        setting: Setting,
    ) -> None:
        self.name, self.zone, self.id = member.name, member.zone, member.id
        self.up = self.gone = False
        self.disk = Disk(self.name, setting.oracle)
        self.peers: dict[MemberId, Storage] = {}
        self.crashes = 0
        self.failed = False  # for good: what is damaged no other member can give
        self._healing = False
        self.forgets = False  # what it was told of the configuration is damaged
        self.ask_operator: Callable[[], None] = lambda: None
        self._given, self._lease = setting.config, setting.lease
        self._world, self._network = setting.world, setting.network
        self.random = setting.world.random
        self._links: dict[Conn, Link] = {}
        self._fetching = Fetching(self)
        self._feeds: dict[Conn, Feed] = {}
        self.slow = setting.world.random.choice((0.0003, 0.0003, 0.002, 0.02))  # seconds for a sync
        self._life = 0
        self._extending: tuple[Link, m.Append, DurableState]
        self.start()

    # --- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Boot from the disk."""
        if not self.up and not self.gone:
            self.up, self._life = True, self._life + 1
            unfit = self._look()
            self.clock = Clock(self._world)
            self.node = Node(
                member=self.id,
                config=self.disk.config or self._given,
                durable=self.disk.state,
                images={} if Thing.IMAGE in self.disk.damaged else self.disk.images,
                lease=self._lease,
                now=self.clock.now,
                unfit=unfit,
            )
            if self.disk.holes and not self.failed and not self.forgets:
                self.node.serving.salvage(self.disk.state)
            self._effects = Drain(self.node.effects, self._carry_out)
            self._timer = float("inf")
            self._drain()
            self._healing = bool(self.node.unfit or self.disk.damaged)
            if self._healing:
                self.later(self._heal)

    def _look(self) -> str:
        """Say what of the disk keeps the node from service as it starts; empty if nothing does."""
        self.failed = bool(self.disk.damaged & FOR_GOOD)
        self.forgets = Thing.CONFIGURATION in self.disk.damaged
        if self.failed:
            return "identity, promise or history is damaged"
        if self.forgets:
            self.ask_operator()
            return "the configuration is damaged"
        return "the journal is damaged" if self.disk.holes else ""

    def crash(self, torn: int | None = None) -> None:
        """Lose power; `torn` records of what is being written have reached the disk, else some."""
        if self.up:
            self._world.note(self.name, "crash", self.disk.state.promised, self.disk.state.flush)
            self.up = False
            self.crashes += 1
            self.disk.crash(self._world.random, torn)
            for link in list(self._links.values()):
                link.hang_up()
            self._fetching.stop()
            self._links, self._feeds = {}, {}

    def lose(self) -> None:
        """It is gone for good, and its disk with it."""
        self.crash()
        self.gone = True

    def configure(self, config: VolumeConfig) -> None:
        """Adopt a higher configuration, durably first."""
        if config.version > self.node.config.version and not self.forgets:
            self._remember(config)
            self.input(self.node.configure, config)

    def told(self, config: VolumeConfig) -> None:
        """Hear the operator, who knows; who has forgotten begins anew with it."""
        if not self.forgets:
            self.configure(config)
        elif config.version >= self._given.version:
            self._remember(config)
            self._begin_anew()

    def _remember(self, config: VolumeConfig) -> None:
        self.disk.config = config
        self.disk.damaged.discard(Thing.CONFIGURATION)

    # --- damage ------------------------------------------------------------------------------------------------

    @property
    def dead(self) -> bool:
        """Whether another member has to take its place."""
        return self.gone or bool(self.disk.damaged & FOR_GOOD)

    def scrub(self) -> None:
        """Notice what has rotted, as a node that runs does."""
        if not self.up or self.node.unfit:
            return
        if Thing.PROMISE in self.disk.damaged:
            self.failed = True
            self.input(self.node.failed, "promise or history is damaged")
        elif Thing.IMAGE in self.disk.damaged:
            for image in self.disk.images:
                self.node.image_lost(image)
        if not self._healing:
            self._heal()

    def _heal(self) -> None:
        """Ask some member for what is damaged, again and again; serve once all that kept the node from it is there."""
        disk = self.disk
        if self.failed or self.forgets or self.node.retired:
            return
        if self.node.unfit and not disk.holes:
            self._begin_anew()
            return
        peers = [id for id in self.peers if id != self.id]
        if disk.holes:
            self._fetching.mend(self._world.random.choice(disk.holes), self._world.random.choice(peers))
        if Thing.IMAGE in disk.damaged and not self.node.unfit:
            for image in disk.images:
                self._fetching.obtain(image, self._world.random.choice(peers))
        self._healing = bool(disk.holes) or Thing.IMAGE in disk.damaged
        if self._healing:
            self._world.after(RETRY_S, self._alive(self._heal))

    def _begin_anew(self) -> None:
        self.crash()
        self.start()

    @property
    def current(self) -> bool:
        """What `/status` would say."""
        return self.up and not self.node.unfit and bool(self.node.durable.history) and not self.node.catching_up

    @property
    def generation(self) -> Generation:
        """Of the configuration in force here; 0 if it is not known."""
        return Generation(0) if self.forgets else self.node.config.generation

    def _retire(self) -> None:
        """Feeds end with the service."""
        for feed in self._feeds.values():
            feed.link.hang_up()
        self._feeds.clear()

    # --- as a server ---------------------------------------------------------------------------------------

    def accept(self, link: Link) -> None:
        """A connection comes in."""
        self._links[link.conn] = link

    def request(self, link: Link, envelope: m.Envelope) -> None:
        """A message comes in."""
        if self.up and link.conn in self._links:
            self._take(link, envelope)
            self._drain()

    def _take(self, link: Link, envelope: m.Envelope) -> None:
        """Give it to the node; the next append of a steady reign the short way, as the shell does."""
        node, (generation, _, recipient, append) = self.node, envelope
        known = generation == node.config.generation and recipient == self.id
        waiting = node.backlog
        if type(append) is m.Append and append.data and known:
            epoch, stream, lsn, durable, data, beat = append
            after = node.steady.extend(link.conn, epoch, stream, lsn, durable, beat, len(data), self.clock.now)
            if after is not None:
                self._extending = (link, append, after)
                self._persist(Persist(_EXTENDED, (Logged(lsn, data),)))
                return
        node.receive(link.conn, envelope, self.clock.now)
        require(known or node.backlog == waiting, "log of another generation is not taken", self.name, generation)

    def _extended(self) -> None:
        """What the short way has written is durable."""
        link, append, after = self._extending
        if after != self.disk.state:
            raise Violation(f"the short way leads where the long one does: {self.name} {after} {self.disk.state}")
        if self.node.extended(link.conn) and link.conn in self._links:
            flush = self.node.durable.flush
            self._answer(link, m.Ack(append.epoch, flush, append.beat, self.node.feeding))

    def hung_up(self, link: Link) -> None:
        """A connection ends."""
        if self._links.pop(link.conn, None) is not None:
            self._feeds.pop(link.conn, None)
            self.input(self.node.closed, link.conn)

    def _answer(self, link: Link, message: m.Message) -> None:
        link.to_client(m.Envelope(self.node.config.generation, self.id, "", message))

    # --- as a client of its peers --------------------------------------------------------------------------

    def connect(self, donor: MemberId) -> Link | None:
        """Give a connection to a peer, if there can be one now."""
        return self._network.connect(self, self.peers[donor])

    def answer(self, link: Link, envelope: m.Envelope) -> None:
        """A donor answers."""
        self.input(self._fetching.answer, link, envelope.message)

    def lost(self, link: Link) -> None:
        """The connection to a donor broke."""
        self.input(self._fetching.lost, link)

    # --- effects ---------------------------------------------------------------------------

    def input(self, give: Callable[..., None], *args: object) -> None:
        """Give the node something, unless it is down, and do what follows."""
        if self.up:
            give(*args)
            self._drain()

    def _drain(self) -> None:
        self._effects.run()
        due = self.node.next_deadline()
        if due is not None and (at := self.clock.true(due) + 1e-6) < self._timer:
            self._timer = at
            self._world.at(self._timer, self._tick, self._life)

    def _tick(self, life: int) -> None:
        if life == self._life and self.up:
            self._timer = float("inf")
            self.input(self.node.tick, self.clock.now)

    def _carry_out(self, effects: list[NodeEffect]) -> None:
        for effect in effects:
            self._do(effect)

    def _do(self, effect: NodeEffect) -> None:  # noqa: PLR0912 - one case for each effect
        match effect:
            case Send(conn=conn, message=message):
                if conn in self._links:
                    self._answer(self._links[conn], message)
            case Persist():
                self._persist(effect)
            case Readable():
                for feed in list(self._feeds.values()):
                    self._feed(feed)
            case Close(conn=conn):
                self._links[conn].hang_up()
            case Pull() | LoadImage() | PullImage() | StoreImage() | CancelPull():
                self._fetching.take(effect)
            case ServeLog(conn=conn, epoch=epoch, start=start, upto=upto):
                self.later(self._serve_log, conn, epoch, start, upto)
            case ServeFeed(conn=conn, start=start):
                self._feeds[conn] = feed = Feed(self._links[conn], start)
                self._feed(feed)
            case ServeImage(conn=conn, image=image):
                if Thing.IMAGE in self.disk.damaged:
                    self._links.pop(conn).hang_up()
                    self.scrub()
                    return
                data = m.ImageData(image=image, size=0, offset=0, data=pack(self.disk.images[image]))
                self._answer(self._links[conn], data)
            case Truncated(end=end):
                for feed in [f for f in self._feeds.values() if f.at > end]:
                    feed.link.hang_up()
                    del self._feeds[feed.link.conn]
            case OutOfService(reason=reason):
                if not self.node.retired and not self.failed:
                    raise Violation(f"nodes stay in service: {self.name} {reason}")
                self._retire()
            case Adopt(config=config):
                if self._world.random.random() < 0.5:
                    self.configure(config)
                else:
                    self.later(self.configure, config)

    def later(self, do: Callable[..., None], *args: object) -> None:
        """Do it after a moment, unless the node crashed meanwhile."""
        self._world.after(self._world.random.random() * 0.003, self._alive(do, *args))

    def _alive(self, do: Callable[..., None], *args: object) -> Callable[[], None]:
        life = self._life

        def unless_dead() -> None:
            if self.up and life == self._life:
                do(*args)

        return unless_dead

    def _persist(self, persist: Persist) -> None:
        assert self.disk.writing is None, "one sync at a time"
        self.disk.writing = persist
        random, life = self._world.random, self._life
        stall = 0.5 if random.random() < 0.002 else 0.0
        self._world.after(self.slow * 2 * random.random() + stall, self._synced, persist, life)

    def _synced(self, persist: Persist, life: int) -> None:
        if self.up and life == self._life:
            self.disk.sync()
            if persist.token == _EXTENDED:
                self.input(self._extended)
            else:
                self.input(self.node.persisted, persist.token)

    # --- log ------------------------------------------------------------------------------------

    def _serve_log(self, conn: Conn, epoch: Epoch, start: Lsn, upto: Lsn) -> None:
        if conn not in self._links:
            return
        end = Lsn(min(upto, start + PIECE))
        try:
            data = self.disk.read(start, end)
        except Rotten:
            data = None
            self.scrub()
        if data is None or not self.node.serves(epoch):
            self._links.pop(conn).hang_up()
            return
        self._answer(self._links[conn], m.LogData(lsn=start, data=data, last=end == upto))
        if end < upto:
            self.later(self._serve_log, conn, epoch, end, upto)

    def _feed(self, feed: Feed) -> None:
        upto, history = self.node.readable, self.node.feed_history
        if upto > feed.at or history != feed.told:
            end = max(feed.at, upto)
            try:
                data = self.disk.read(feed.at, end)
            except Rotten:
                feed.link.hang_up()
                self._feeds.pop(feed.link.conn, None)
                self.scrub()
                return
            news = history if history != feed.told else None
            self._answer(feed.link, m.Feed(lsn=feed.at, durable=upto, data=data, history=news))
            feed.at, feed.told = end, history
