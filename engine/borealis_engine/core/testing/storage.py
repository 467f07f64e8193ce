"""A simulated storage node: the real Node, and a shell around it that carries its effects out late and may crash."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn, Member, MemberId
from borealis_engine.core import messages as m
from borealis_engine.core.effects import (
    CancelPull,
    Close,
    Conn,
    ImageExtent,
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
from borealis_engine.core.testing.clockwork import Clock
from borealis_engine.core.testing.disk import Disk
from borealis_engine.core.testing.network import Link
from borealis_engine.core.testing.setting import Setting
from borealis_engine.core.testing.violation import Violation

PIECE: Final = 512  # bytes of log sent at once
_LOST: Final = m.ImageStored(image="")  # any answer that is none
_ONE: Final = Epoch(1)
_EXTENDED: Final = 0  # for the token of a sync that the short way asked for


def pack(extent: ImageExtent) -> bytes:
    """Give the blob of a simulated image: its extent; its log is the oracle's."""
    return struct.pack(">QQ", extent.start, extent.end)


def unpack(blob: bytes) -> ImageExtent:
    """Read `pack`."""
    start, end = struct.unpack(">QQ", blob)
    return ImageExtent(start=Lsn(start), end=Lsn(end))


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
        self.up = False
        self.disk = Disk(self.name, setting.oracle)
        self.peers: dict[MemberId, Storage] = {}
        self.crashes = 0
        self._config, self._lease = setting.config, setting.lease
        self._world, self._network = setting.world, setting.network
        self._links: dict[Conn, Link] = {}
        self._pulls: dict[int, tuple[Link, Callable[[m.Message], None]]] = {}
        self._feeds: dict[Conn, Feed] = {}
        self.slow = setting.world.random.choice((0.0003, 0.0003, 0.002, 0.02))  # seconds for a sync
        self._life = 0
        self._extending: tuple[Link, m.Append, DurableState]
        self.start()

    # --- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Boot from the disk."""
        if not self.up:
            self.up, self._life = True, self._life + 1
            self.clock = Clock(self._world)
            self.node = Node(
                member=self.id,
                config=self._config,
                durable=self.disk.state,
                images=self.disk.images,
                lease=self._lease,
                now=self.clock.now,
            )
            self._timer = float("inf")
            self._drain()

    def crash(self) -> None:
        """Lose power."""
        if self.up:
            self._world.note(self.name, "crash", self.disk.state.promised, self.disk.state.flush)
            self.up = False
            self.crashes += 1
            self.disk.crash(self._world.random)
            for link in list(self._links.values()):
                link.hang_up()
            for link, _ in list(self._pulls.values()):
                link.close()
            self._links, self._pulls, self._feeds = {}, {}, {}

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
        if type(append) is m.Append and append.data and known:
            epoch, stream, lsn, durable, data, beat = append
            after = node.steady.extend(link.conn, epoch, stream, lsn, durable, beat, len(data), self.clock.now)
            if after is not None:
                self._extending = (link, append, after)
                self._persist(Persist(_EXTENDED, (Logged(lsn, data),)))
                return
        node.receive(link.conn, envelope, self.clock.now)

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
            self._input(self.node.closed, link.conn)

    def _answer(self, link: Link, message: m.Message) -> None:
        link.to_client(m.Envelope(self._config.generation, self.id, "", message))

    # --- as a client of its peers --------------------------------------------------------------------------

    def _call(self, token: int, donor: MemberId, request: m.Message, take: Callable[[m.Message], None]) -> bool:
        link = self._network.connect(self, self.peers[donor])
        if link is None:
            return False
        self._pulls[token] = (link, take)
        link.to_server(m.Envelope(generation=self._config.generation, sender=self.id, recipient=donor, message=request))
        return True

    def answer(self, link: Link, envelope: m.Envelope) -> None:
        """A donor answers."""
        for token, (used, take) in list(self._pulls.items()):
            if used is link and self.up:
                self._input(take, envelope.message)
                if token not in self._pulls:
                    link.close()

    def lost(self, link: Link) -> None:
        """The connection to a donor broke."""
        for token, (used, take) in list(self._pulls.items()):
            if used is link and self.up:
                del self._pulls[token]
                self._input(take, _LOST)

    # --- effects ---------------------------------------------------------------------------

    def _input(self, give: Callable[..., None], *args: object) -> None:
        if self.up:
            give(*args)
            self._drain()

    def _drain(self) -> None:
        node = self.node
        for effect in node.effects():
            self._carry_out(effect)
        due = node.next_deadline()
        if due is not None and (at := self.clock.true(due) + 1e-6) < self._timer:
            self._timer = at
            self._world.at(self._timer, self._tick, self._life)

    def _tick(self, life: int) -> None:
        if life == self._life and self.up:
            self._timer = float("inf")
            self._input(self.node.tick, self.clock.now)

    def _carry_out(self, effect: NodeEffect) -> None:  # noqa: PLR0912 - one case for each effect
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
                self._fetch(effect)
            case ServeLog(conn=conn, epoch=epoch, start=start, upto=upto):
                self._later(self._serve_log, conn, epoch, start, upto)
            case ServeFeed(conn=conn, start=start):
                self._feeds[conn] = feed = Feed(self._links[conn], start)
                self._feed(feed)
            case ServeImage(conn=conn, image=image):
                data = m.ImageData(image=image, size=0, offset=0, data=pack(self.disk.images[image]))
                self._answer(self._links[conn], data)
            case Truncated(end=end):
                for feed in [f for f in self._feeds.values() if f.at > end]:
                    feed.link.hang_up()
                    del self._feeds[feed.link.conn]
            case OutOfService(reason=reason):
                raise Violation(f"nodes stay in service: {self.name} {reason}")

    def _later(self, do: Callable[..., None], *args: object) -> None:
        """Do it after a moment, unless the node crashed meanwhile."""
        life = self._life

        def unless_dead() -> None:
            if self.up and life == self._life:
                do(*args)

        self._world.after(self._world.random.random() * 0.003, unless_dead)

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
                self._input(self._extended)
            else:
                self._input(self.node.persisted, persist.token)

    # --- log and images ------------------------------------------------------------------------------------

    def _fetch(self, effect: Pull | LoadImage | PullImage | StoreImage | CancelPull) -> None:
        match effect:
            case Pull(token=token, donor=donor, epoch=epoch, start=start, upto=upto):
                read = m.Read(epoch=epoch, start=start, upto=upto)
                if not self._call(token, donor, read, lambda answer: self._pulled(token, upto, answer)):
                    self.node.pull_failed(token, self.clock.now)
            case LoadImage(token=token, image=image, start=start, upto=upto):
                self._later(self._load_image, token, image, start, upto)
            case PullImage(image=image, donor=donor):
                get = m.GetImage(image=image)
                if not self._call(0, donor, get, lambda answer: self._image_pulled(image, answer)):
                    self.node.image_failed(image, self.clock.now)
            case StoreImage(piece=piece):
                self._later(self._store_image, piece.image, unpack(piece.data))
            case CancelPull(token=token):
                if token in self._pulls:
                    self._pulls.pop(token)[0].close()

    def _pulled(self, token: int, upto: Lsn, answer: m.Message) -> None:
        if isinstance(answer, m.LogData):
            self.node.pulled(token, answer.lsn, answer.data, self.clock.now)
            if not answer.last:
                return
            if answer.lsn + len(answer.data) < upto:
                self.node.pull_failed(token, self.clock.now)
        else:
            self.node.pull_failed(token, self.clock.now)
        self._pulls.pop(token, None)

    def _image_pulled(self, image: str, answer: m.Message) -> None:
        self._pulls.pop(0, None)
        if isinstance(answer, m.ImageData):
            self._later(self._store_image, image, unpack(answer.data))
        else:
            self.node.image_failed(image, self.clock.now)

    def _store_image(self, image: str, extent: ImageExtent) -> None:
        self.disk.images[image] = extent
        self._input(self.node.image_arrived, image, extent, self.clock.now)

    def _load_image(self, token: int, image: str, start: Lsn, upto: Lsn) -> None:
        prefix = (m.Reign(epoch=_ONE, start=self.disk.images[image].start, image=image),)
        log = self.disk.oracle.content(prefix, start, upto)
        self._input(self.node.pulled, token, start, log, self.clock.now)

    def _serve_log(self, conn: Conn, epoch: Epoch, start: Lsn, upto: Lsn) -> None:
        if conn not in self._links:
            return
        end = Lsn(min(upto, start + PIECE))
        data = self.disk.read(start, end)
        if not self.node.serves(epoch):
            self._links.pop(conn).hang_up()
            return
        self._answer(self._links[conn], m.LogData(lsn=start, data=data, last=end == upto))
        if end < upto:
            self._later(self._serve_log, conn, epoch, end, upto)

    def _feed(self, feed: Feed) -> None:
        upto, history = self.node.readable, self.node.feed_history
        if upto > feed.at or history != feed.told:
            end = max(feed.at, upto)
            data = self.disk.read(feed.at, end)
            news = history if history != feed.told else None
            self._answer(feed.link, m.Feed(lsn=feed.at, durable=upto, data=data, history=news))
            feed.at, feed.told = end, history
