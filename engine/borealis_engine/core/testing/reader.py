"""A simulated reader: subscribes to any node and replays whole records up to D, as an agent's feed does."""

from borealis_engine.contract.volume import Lsn, MemberId, VolumeConfig
from borealis_engine.core import messages as m
from borealis_engine.core.testing import wal
from borealis_engine.core.testing.network import Link
from borealis_engine.core.testing.setting import Setting
from borealis_engine.core.testing.storage import Storage
from borealis_engine.core.testing.violation import require


class Reader:
    """One reader."""

    def __init__(
        self,
        *,
        name: str,
        setting: Setting,
        nodes: dict[MemberId, Storage],
    ) -> None:
        self.name = name
        self.replayed = wal.BASE
        self._config, self._world, self._nodes = setting.config, setting.world, nodes
        self._network, self._oracle = setting.network, setting.oracle
        self._link: Link | None = None
        self._pending = b""  # beyond the last record end at or below D
        self._image = ""
        self._epoch = 0
        self._connect()

    def _connect(self) -> None:
        node = self._nodes[self._world.random.choice(self._config.members).id]
        self._link = self._network.connect(self, node)
        self._pending = b""
        if self._link is None:
            self._again()
        else:
            ask = m.Subscribe(start=self.replayed)
            self._world.after(0.5, self._look, self._link, self.replayed)
            self._link.to_server(
                m.Envelope(generation=self._config.generation, sender=self.name, recipient=node.id, message=ask)
            )

    def _look(self, link: Link, replayed: int) -> None:
        """A node that gives nothing is left for another: it may lag."""
        if link is self._link:
            if self.replayed == replayed:
                link.close()
                self.lost(link)
            else:
                self._world.after(0.5, self._look, link, self.replayed)

    def _again(self) -> None:
        self._world.after(0.1 + 0.2 * self._world.random.random(), self._connect)

    def configure(self, config: VolumeConfig) -> None:
        """Keep the higher configuration."""
        if config.version > self._config.version:
            self._config = config

    def answer(self, link: Link, envelope: m.Envelope) -> None:
        """The node feeds, or refuses."""
        if link is not self._link:
            return
        message = envelope.message
        if isinstance(message, m.Refused) and message.config:
            self.configure(VolumeConfig.from_json(message.config))
        if not isinstance(message, m.Feed) or (message.history and message.history[-1].epoch < self._epoch):
            link.close()  # refused, or behind what is known here
            self.lost(link)
            return
        if message.history:
            self._epoch = message.history[-1].epoch
            image = message.history[0].image
            require(self._image in ("", image), "a reader sees one image", self.name)
            self._image = image
        require(message.lsn == self.replayed + len(self._pending), "a feed is contiguous", self.name, message.lsn)
        self._pending += message.data
        self._replay(message.durable)

    def _replay(self, durable: Lsn) -> None:
        whole = [end for end in wal.ends(self.replayed, self._pending) if end <= durable]
        if whole:
            size = whole[-1] - self.replayed
            self._oracle.replayed(self.name, self.replayed, self._pending[:size])
            self.replayed, self._pending = Lsn(whole[-1]), self._pending[size:]

    def lost(self, link: Link) -> None:
        """The connection broke: begin again from the last record."""
        if link is self._link:
            self._link = None
            self._again()
