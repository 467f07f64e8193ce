"""What goes wrong with disks in a schedule: no more than the volume promises to survive (docs/volume.md, 019).

A schedule has one kind of it, or none: places that other members can mend, members that are lost for good, or one
member that forgets. What is damaged at a time leaves, of each thing, some member that holds it whole and lives.
"""

from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

from borealis_engine.core.testing.disk import FOR_GOOD, Thing
from borealis_engine.core.testing.scene import Scene
from borealis_engine.core.testing.storage import Storage
from borealis_engine.core.watermark import Watermark

Fault: TypeAlias = Callable[[], None]

PLACE: Final = 400  # bytes of log that a damaged place has at most
READABLE: Final = 3  # members that keep a readable image
LOST: Final = 2  # members that may be lost for good at a time
NOTICED_S: Final = 0.5  # until a scrub comes by, at most


class Rot:
    """The faults of disks of one schedule."""

    def __init__(self, scene: Scene, dice: Random, *, membership: bool) -> None:
        """`membership`: members are replaced besides, so nothing may depend on the one that goes."""
        self._scene, self._world = scene, scene.world
        self._whole, self._liar = dice.sample(scene.nodes, 2)  # whose newest log never rots; who forgets
        self._kinds: list[Fault] = dice.choice(
            [
                [],
                [self._image, self._configuration, self._configuration],
                [self._identity, self._promise, self._promise],
                *([] if membership else [[self._forget]]),
                *([] if membership else [[self._log, self._log, self._image, self._misdirect, self._everywhere]] * 2),
            ]
        )

    def draw(self, dice: Random, seconds: float) -> list[tuple[float, Fault]]:
        """Give some faults, and when they happen."""
        count = dice.randint(1, 6) if self._kinds else 0
        return [(dice.uniform(0.3, seconds), dice.choice(self._kinds)) for _ in range(count)]

    def _members(self) -> list[Storage]:
        config = self._scene.operator.config
        ids = {member.id for member in config.everyone}
        return [node for node in self._scene.nodes if node.id in ids and not node.gone]

    def _any(self) -> Storage:
        return self._world.random.choice(self._members())

    def _rot(self, node: Storage, thing: Thing) -> None:
        self._world.note(node.name, "rots:", thing.value)
        node.disk.damaged.add(thing)
        self._world.after(NOTICED_S * self._world.random.random(), node.scrub)

    # --- what others mend ------------------------------------------------------------------------------------------

    def _image(self) -> None:
        node = self._any()
        sound = [n for n in self._members() if n.disk.images and not n.disk.damaged & {Thing.IMAGE, *FOR_GOOD}]
        if node.disk.images and len(sound) > READABLE:
            self._rot(node, Thing.IMAGE)

    def _configuration(self) -> None:
        self._rot(self._any(), Thing.CONFIGURATION)

    def _log(self) -> None:
        """Damage a place of one member's log; another one keeps it whole, and all that is damaged around it.

        Above the D that all have recorded that one is always the same, for it may have to be in service to give it.
        """
        random, members = self._world.random, self._members()
        node = random.choice(members)
        disk, whole = node.disk, self._whole.disk
        recorded = min(Watermark(each.disk.state).here(each.disk.state) for each in members)
        known = recorded if node is self._whole else min(whole.state.flush, disk.oracle.end)
        first, last = disk.state.start, min(disk.state.flush, known)
        if not first or last <= first or any(each.disk.state.start != first for each in (node, self._whole)):
            return
        start = random.randrange(random.choice((first, max(first, last - 2 * PLACE))), last)
        upto = min(last, start + random.randint(1, PLACE))
        others = [each for each in members if each is not node] if upto <= recorded else [self._whole]
        keeps = any(each.disk.is_whole(start - PLACE, upto + PLACE) for each in others)
        same = disk.written(start, upto) == whole.written(start, upto)
        if keeps and same and disk.is_whole(start, upto):
            self._world.note(node.name, "rots: log", start, upto)
            disk.holes.append((start, upto))
            self._world.after(NOTICED_S * random.random(), node.scrub)

    def _misdirect(self) -> None:
        """A write went where it did not belong: both places are damaged."""
        self._log()
        self._world.random.choice([self._log, self._image])()

    def _everywhere(self) -> None:
        """Each member has its own damage, and now and then the power of all fails before it is noticed."""
        for _ in range(6):
            self._world.random.choice([self._log, self._image, self._configuration])()
        if self._world.random.random() < 0.5:
            for node in self._scene.nodes:
                node.crash()
                self._world.after(0.3 * self._world.random.random(), node.start)

    # --- what nobody can mend --------------------------------------------------------------------------------------

    def _identity(self) -> None:
        self._lose(Thing.IDENTITY)

    def _promise(self) -> None:
        self._lose(Thing.PROMISE)

    def _lose(self, thing: Thing) -> None:
        node, members = self._any(), self._scene.operator.config.everyone
        known = {each.id: each for each in self._scene.nodes}
        lost = [m for m in members if known[m.id].dead or known[m.id].disk.damaged & FOR_GOOD]
        if len(lost) < LOST:
            self._rot(node, thing)

    def _forget(self) -> None:
        """Power fails, and what the disk had said was durable is not there."""
        self._liar.crash()
        self._liar.disk.forget()
        self._world.note(self._liar.name, "forgets", self._liar.disk.state.flush)
        self._world.after(self._world.random.choice((0.01, 0.3)), self._liar.start)
