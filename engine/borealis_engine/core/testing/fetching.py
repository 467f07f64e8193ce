"""What a simulated storage node fetches: images, and log that it pulls from several peers at once, as shells do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from borealis_engine.contract.volume import Epoch, Lsn, MemberId
from borealis_engine.core import messages as m
from borealis_engine.core.effects import CancelPull, ImageExtent, LoadImage, Pull, PullImage, StoreImage
from borealis_engine.core.journal import NOBODY
from borealis_engine.core.sourcing import Ask, Sourcing, donors
from borealis_engine.core.testing.blob import unpack
from borealis_engine.core.testing.disk import Thing
from borealis_engine.core.testing.network import Link

if TYPE_CHECKING:
    from borealis_engine.core.testing.storage import Storage

PIECE: Final = 1024  # bytes of log asked of one donor
AHEAD: Final = 4096
_LOST: Final = m.ImageStored(image="")  # any answer that is none
_IMAGE: Final = 0  # for the token of what is no pull


class Fetching:
    """The transfers of one node under way."""

    def __init__(self, node: Storage) -> None:
        self._node = node
        self._calls: dict[Link, tuple[int, Callable[[m.Message], None]]] = {}
        self._pulls: dict[int, tuple[Pull, Sourcing]] = {}

    def stop(self) -> None:
        """The node crashes."""
        for link in list(self._calls):
            link.close()
        self._calls, self._pulls = {}, {}

    def take(self, effect: Pull | LoadImage | PullImage | StoreImage | CancelPull) -> None:
        """Begin or cancel a transfer."""
        shell = self._node
        match effect:
            case Pull(token=token, donor=donor, start=start, upto=upto):
                asked = donors(shell.node.config, shell.id, donor)
                sourcing = Sourcing(start=start, upto=upto, donors=asked, piece=PIECE, ahead=AHEAD)
                self._pulls[token] = (effect, sourcing)
                self._go_on(token)
            case LoadImage(token=token, image=image, start=start, upto=upto):
                shell.later(self._load_image, token, image, start, upto)
            case PullImage(image=image, donor=donor):
                if not self._call(_IMAGE, donor, m.GetImage(image=image), lambda a: self._image_pulled(image, a)):
                    shell.node.image_failed(image, shell.clock.now)
            case StoreImage(piece=piece):
                shell.later(self._store_image, piece.image, unpack(piece.data))
            case CancelPull(token=token):
                self._drop(token)

    def _call(self, token: int, donor: MemberId, request: m.Message, take: Callable[[m.Message], None]) -> bool:
        link = self._node.connect(donor)
        if link is None:
            return False
        self._calls[link] = (token, take)
        generation = self._node.node.config.generation
        link.to_server(m.Envelope(generation=generation, sender=self._node.id, recipient=donor, message=request))
        return True

    def answer(self, link: Link, message: m.Message) -> None:
        """A peer answers."""
        if link not in self._calls:
            return
        take = self._calls[link][1]
        if not isinstance(message, m.LogData) or message.last:
            del self._calls[link]
            link.close()
        take(message)

    def lost(self, link: Link) -> None:
        """A connection to a peer broke."""
        if link in self._calls:
            self._calls.pop(link)[1](_LOST)

    def _drop(self, token: int) -> None:
        self._pulls.pop(token, None)
        for link in [link for link, (used, _) in self._calls.items() if used == token]:
            del self._calls[link]
            link.close()

    # --- log ------------------------------------------------------------------------------------------------------

    def _go_on(self, token: int) -> None:
        """Ask whom there is to ask; the pull is over if all came or nobody is left."""
        while token in self._pulls:
            pull, sourcing = self._pulls[token]
            if sourcing.done or sourcing.hopeless:
                self._drop(token)
                if not sourcing.done:
                    self._node.node.pull_failed(token, self._node.clock.now)
                return
            asks = sourcing.asks()
            if not asks:
                return
            for ask in asks:
                self._ask(token, pull, sourcing, ask)

    def _ask(self, token: int, pull: Pull, sourcing: Sourcing, ask: Ask) -> None:
        read = m.Read(epoch=pull.epoch, start=ask.start, upto=ask.upto)
        if not self._call(token, ask.donor, read, lambda a: self._pulled(token, sourcing, ask.donor, a)):
            sourcing.ended(ask.donor, failed=True)

    def _pulled(self, token: int, sourcing: Sourcing, donor: MemberId, answer: m.Message) -> None:
        shell = self._node
        if not isinstance(answer, m.LogData):
            sourcing.ended(donor, failed=True)
        else:
            at = sourcing.at
            ready = sourcing.arrived(donor, answer.lsn, answer.data)
            if ready:
                shell.node.pulled(token, at, ready, shell.clock.now)
            if not answer.last:
                return
            sourcing.ended(donor)
        self._go_on(token)

    def mend(self, hole: tuple[int, int], donor: MemberId) -> None:
        """Ask a peer for damaged log: below its D, where a checksum proves it the same, or of the own epoch."""
        shell, got = self._node, bytearray()
        start, upto = Lsn(hole[0]), Lsn(hole[1])

        def take(answer: m.Message) -> None:
            if isinstance(answer, m.LogData):
                got.extend(answer.data)
                if answer.last and len(got) == upto - start:
                    shell.disk.mend(hole, bytes(got))

        epoch = shell.random.choice((NOBODY, shell.disk.state.epoch))
        self._call(_IMAGE, donor, m.Read(epoch=epoch, start=start, upto=upto), take)

    def _load_image(self, token: int, image: str, start: Lsn, upto: Lsn) -> None:
        shell = self._node
        if Thing.IMAGE in shell.disk.damaged:
            shell.input(shell.node.pull_failed, token, shell.clock.now)
            shell.scrub()
            return
        prefix = (m.Reign(epoch=Epoch(1), start=shell.disk.images[image].start, image=image),)
        log = shell.disk.oracle.content(prefix, start, upto)
        shell.input(shell.node.pulled, token, start, log, shell.clock.now)

    # --- images ---------------------------------------------------------------------------------------------------

    def obtain(self, image: str, donor: MemberId) -> None:
        """Fetch a damaged image anew."""
        self._call(_IMAGE, donor, m.GetImage(image=image), lambda a: self._image_pulled(image, a))

    def _image_pulled(self, image: str, answer: m.Message) -> None:
        if isinstance(answer, m.ImageData):
            self._node.later(self._store_image, image, unpack(answer.data))
        else:
            self._node.node.image_failed(image, self._node.clock.now)

    def _store_image(self, image: str, extent: ImageExtent) -> None:
        shell = self._node
        shell.disk.images[image] = extent
        shell.disk.damaged.discard(Thing.IMAGE)
        shell.input(shell.node.image_arrived, image, extent, shell.clock.now)
