"""A simulated instance that wants to be the writer: the real Writer, and a shell with a fake PostgreSQL behind it.

It campaigns when told to, writes while it reigns, and starts over as a new identity when it is deposed or crashes.
"""

from collections.abc import Callable
from functools import partial

from borealis_engine.contract.volume import Lsn, MemberId, VolumeConfig
from borealis_engine.core import messages as m
from borealis_engine.core.drain import Drain
from borealis_engine.core.effects import (
    ConfigLearned,
    DurableAdvanced,
    Elected,
    Fenced,
    ImageExtent,
    LeaseLost,
    NeedImage,
    Reconnect,
    SendTo,
    Waiting,
    WriterEffect,
)
from borealis_engine.core.testing import wal
from borealis_engine.core.testing.blob import pack
from borealis_engine.core.testing.clockwork import Clock
from borealis_engine.core.testing.network import Link
from borealis_engine.core.testing.setting import Setting
from borealis_engine.core.testing.storage import Storage
from borealis_engine.core.testing.violation import require
from borealis_engine.core.writer import Writer

WINDOW = 8 * 1024  # bytes: small, so that members fall out of it


class Agent:
    """One instance."""

    def __init__(
        self,
        *,
        name: str,
        setting: Setting,
        nodes: dict[MemberId, Storage],
    ) -> None:
        self.name = name
        self.reigning = False
        self.owner = ""  # identity of the incarnation that has a writer
        self.writer: Writer | None = None
        self.busy = True  # its clients write
        self.config = setting.config  # as far as it knows
        self._lease = setting.lease
        self._world, self._network, self._oracle = setting.world, setting.network, setting.oracle
        self._nodes = nodes
        self._links: dict[MemberId, Link] = {}
        self._members: dict[Link, MemberId] = {}
        self._sent: dict[Link, int] = {}  # where the log ends that was sent since the last Begin
        self._unsent = b""  # written by PostgreSQL, not taken by the log writer yet
        self._written = 0
        self._image: tuple[str, bytes] | None = None  # made by this incarnation
        self._life = 0
        self._announce_at = 0.0  # by the clock of this life
        self.clock = Clock(setting.world)

    # --- life ---------------------------------------------------------------------------

    @property
    def lease_until(self) -> float:
        """True time until which this instance believes it may serve; 0 if it does not reign."""
        return self.clock.true(self.writer.lease_until) if self.writer is not None and self.reigning else 0.0

    def promote(self) -> None:
        """Campaign, if it does not already."""
        if self.writer is None:
            self._life += 1
            self.owner = f"{self.name}.{self._life}"
            self._world.note(self.name, "campaigns as", self.owner)
            self.clock = Clock(self._world)
            self.writer = Writer(
                config=self.config,
                owner=self.owner,
                lease=self._lease,
                scan=wal.scan,
                now=self.clock.now,
                window=WINDOW,
            )
            self._effects = Drain(self.writer.effects, partial(self._carry_out, self.writer))
            self._follow()
            self._tick(self._life)

    def crash(self) -> None:
        """The process dies; nodes learn it some time, or not."""
        if self.writer is not None:
            self._world.note(self.name, "crash")
            self._end()

    def resign(self) -> None:
        """Hand over in an orderly way."""
        if self.writer is not None:
            self._world.note(self.name, "resigns", self.writer.epoch)
            self.reigning = False
            self.writer.resign(self.clock.now)
            self._drain()
            self._end()

    def _leave(self, life: int, leave: Callable[[], None]) -> None:
        """PostgreSQL has stopped."""
        if life == self._life:
            leave()

    def _end(self) -> None:
        self.writer, self.reigning, self._unsent, self._image = None, False, b"", None
        self._life += 1
        for link in self._links.values():
            link.close()
        self._links, self._members, self._sent = {}, {}, {}

    def configure(self, config: VolumeConfig) -> None:
        """Keep the higher configuration, as the agent does."""
        if config.version > self.config.version:
            self.config = config
            if self.writer is not None:
                self.writer.configure(config)
                self._follow()
                self._drain()

    # --- connections ---------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Have connections to the members of the configuration, and to no others."""
        wanted = [member.id for member in self.config.everyone]
        for gone in [member for member in self._links if member not in wanted]:
            self._hang_up(gone)
        for member in wanted:
            self._connect(member, self._life)

    def _hang_up(self, member: MemberId) -> None:
        link = self._links.get(member)
        if link is not None:
            link.close()
            self.lost(link)

    def _connect(self, member: MemberId, life: int) -> None:
        if self.writer is None or life != self._life or member in self._links:
            return
        if all(member != known.id for known in self.config.everyone):
            return
        link = self._network.connect(self, self._nodes[member])
        if link is None:
            self._world.after(0.05 + 0.1 * self._world.random.random(), self._connect, member, life)
            return
        self._links[member], self._members[link] = link, member
        self.writer.connected(member, self.clock.now)
        self._drain()
        self._upload(member)

    def answer(self, link: Link, envelope: m.Envelope) -> None:
        """A member answers."""
        if self.writer is not None and link in self._members:
            self.writer.receive(self._members[link], envelope, self.clock.now)
            self._drain()

    def lost(self, link: Link) -> None:
        """A connection broke."""
        member = self._members.pop(link, None)
        if member is not None and self.writer is not None:
            del self._links[member]
            self.writer.disconnected(member, self.clock.now)
            self._drain()
            self._world.after(0.01 + 0.1 * self._world.random.random(), self._connect, member, self._life)

    # --- effects ---------------------------------------------------------------------------

    def _tick(self, life: int) -> None:
        if self.writer is None or life != self._life:
            return
        self.writer.tick(self.clock.now)
        self._drain()
        if self.writer is not None:
            self._world.at(self.clock.true(self.writer.next_deadline()), self._tick, life)

    def _announce(self, life: int, due: float) -> None:
        if self.writer is not None and life == self._life and self.writer.announce_at == due:
            self.writer.announce()
            self._drain()

    def _drain(self) -> None:
        if (writer := self.writer) is None:
            return
        self._effects.run()
        if (due := writer.announce_at) is not None and due != self._announce_at:
            self._announce_at = due
            self._world.at(self.clock.true(due), self._announce, self._life, due)

    def _carry_out(self, writer: Writer, effects: list[WriterEffect]) -> None:
        for effect in effects:
            if self.writer is writer:
                self._do(writer, effect)

    def _do(self, writer: Writer, effect: WriterEffect) -> None:
        match effect:
            case SendTo(member=member, message=message):
                self._send(member, message)
            case DurableAdvanced(lsn=lsn):
                self._oracle.durable(self.owner, writer.epoch, lsn, writer.config)
                if self._world.random.random() < 0.3:  # else commits gather
                    self._pass_on()
            case Elected(epoch=epoch, history=history, end=end):
                self._world.note(self.name, "elected", epoch, end)
                self._oracle.elected(epoch, history, end, now=self._world.now)
                self.reigning = True
                self._written = end
                self._work(self._life)
            case NeedImage():
                self._world.after(0.2 * self._world.random.random(), self._make_image, self._life)
            case Reconnect(member=member):
                self._hang_up(member)
            case Fenced(reason=reason) | LeaseLost(reason=reason):
                self._world.note(self.name, type(effect).__name__, reason)
                self.reigning = False
                leave = self.resign if self._world.random.random() < 0.5 else self._end
                self._world.after(0.01 * self._world.random.random(), self._leave, self._life, leave)
            case Waiting(reason=reason):
                self._world.note(self.name, "waits:", reason)
            case ConfigLearned(config=config):
                self.config = config
                self._follow()

    def _send(self, member: MemberId, message: m.Message) -> None:
        writer = self.writer
        if isinstance(message, m.Begin) and writer is not None:
            self._oracle.began(self.owner, message.epoch, message.history, writer.won_under)
        link = self._links.get(member)
        if link is not None:
            if type(message) is m.Append and message.data:
                at = self._sent.get(link, message.lsn)
                require(message.lsn == at, "log is sent in order", self.owner, member, message.lsn, at)
                self._sent[link] = message.lsn + len(message.data)
            elif type(message) is m.Begin:
                self._sent.pop(link, None)
            link.to_server(m.Envelope(self.config.generation, self.owner, member, message))

    # --- the fake PostgreSQL -------------------------------------------------------------------------------

    def _make_image(self, life: int) -> None:
        if self.writer is None or life != self._life:
            return
        image = f"{self.owner}/{self.writer.epoch}"
        log = wal.write(self._world.random, -1 % 2**32, wal.BASE, 5)
        extent = ImageExtent(start=wal.BASE, end=Lsn(wal.BASE + len(log)))
        self._oracle.image_made(image, log)
        self.writer.image_made(image, extent, self.clock.now)
        self._drain()
        self._image = (image, pack(extent))
        for member in list(self._links):
            self._upload(member)

    def _upload(self, member: MemberId) -> None:
        if self._image is not None:
            image, blob = self._image
            self._send(member, m.PutImage(image=image, size=len(blob), offset=0, data=blob))

    def _work(self, life: int) -> None:
        """Write some records and hand over what the log writer has room for, in pieces that mind no record."""
        if self.writer is None or life != self._life or not self.reigning:
            return
        random, writer = self._world.random, self.writer
        if self.busy and len(self._unsent) < 4096:
            data = wal.write(random, writer.epoch, self._written, random.randint(1, 4))
            self._oracle.wrote(writer.epoch, self._written, data)
            self._written += len(data)
            self._unsent += data
        self._pass_on()
        pause = random.choice((0.002, 0.02, 0.1, 0.1))
        self._world.after(pause, self._work, life)

    def _pass_on(self) -> None:
        if (writer := self.writer) is None or not self._unsent:
            return
        size = min(writer.room, len(self._unsent), self._world.random.choice((50, 400, 4000)))
        if size:
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            writer.offer(writer.end, piece, self.clock.now)
            self._drain()
