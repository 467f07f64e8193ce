"""Known bugs about damaged disks: what cannot be read is guessed, taken for nothing, or given out as it stands."""

from collections.abc import Mapping
from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn, MemberId, VolumeConfig
from borealis_engine.core import campaign, custody, node
from borealis_engine.core.journal import EMPTY, DurableState
from borealis_engine.core.messages import Position
from borealis_engine.core.serving import Serving
from borealis_engine.core.standing import Hearsay, is_news
from borealis_engine.core.testing.disk import Disk, Thing
from borealis_engine.core.testing.mutant import Mutant
from borealis_engine.core.testing.storage import Storage


def _smaller_without_an_image(state: DurableState, *, known: tuple[Epoch, Lsn], image_here: bool) -> Position:
    if not image_here:
        return Position(history=(), flush=Lsn(0))
    return custody.claim(state, known=known, image_here=image_here)


_LOOK: Final = Storage._look


def _deaf(votes: Mapping[MemberId, Position], heard: Mapping[MemberId, Position]) -> str:
    return ""


def _guess_the_promise(self: Storage) -> str:
    disk = self.disk
    if Thing.PROMISE in disk.damaged:
        disk.damaged.remove(Thing.PROMISE)
        disk.state = disk.state._replace(promised=Epoch(0), owner="", history=(), flush=Lsn(0), committed=Lsn(0))
        disk.log.clear()
    return _LOOK(self)


def _begin_empty(self: Storage) -> str:
    disk = self.disk
    if Thing.IDENTITY in disk.damaged:
        disk.damaged.remove(Thing.IDENTITY)
        disk.state = EMPTY
        disk.log.clear()
    return _LOOK(self)


def _as_it_was_made(self: Storage) -> str:
    if Thing.CONFIGURATION in self.disk.damaged:
        self.disk.damaged.remove(Thing.CONFIGURATION)
        self.disk.config = None
    return _LOOK(self)


def _what_stands_there(self: Disk, start: int, upto: int) -> bytes:
    data = bytearray(self.written(start, upto))
    for low, high in self.holes:
        for at in range(max(low, start), min(high, upto)):
            data[at - start] ^= 0x55
    return bytes(data)


def _kept_to_itself(self: Serving, durable: DurableState) -> None:
    pass


def _by_number(self: Hearsay, offered: VolumeConfig, known: VolumeConfig, source: str) -> bool:
    return is_news(offered, known)


DAMAGE: Final = (
    Mutant(name="a member that is smaller without its image", patches=((node, "claim", _smaller_without_an_image),)),
    Mutant(name="a candidate deaf to the D that members know", patches=((campaign, "doubt", _deaf),)),
    Mutant(name="a damaged promise guessed", patches=((Storage, "_look", _guess_the_promise),)),
    Mutant(name="a disk of nobody taken for an empty one", patches=((Storage, "_look", _begin_empty),)),
    Mutant(name="the first configuration for a damaged one", patches=((Storage, "_look", _as_it_was_made),)),
    Mutant(name="damaged log given to others", patches=((Disk, "read", _what_stands_there),)),
    Mutant(name="a damaged member that gives nothing", patches=((Serving, "salvage", _kept_to_itself),)),
    Mutant(name="a configuration adopted by its number alone", patches=((Hearsay, "believe", _by_number),)),
)
