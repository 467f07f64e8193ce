"""Scripts of disks: what rot hardly ever brings about by chance. A and B are the first two instances."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from borealis_engine.contract.volume import Generation
from borealis_engine.core.testing.disk import Thing
from borealis_engine.core.testing.scene import Scene
from borealis_engine.core.testing.staging import NEVER, calm, cut, replace_first


def _unreadable_images(scene: Scene) -> None:
    """A's commits are on four; all lose power; two of these cannot read their image then, the other two are late."""
    world, (a, b), nodes = scene.world, calm(scene), scene.nodes
    apart = {(one.name, other.name) for one in nodes[:2] for other in nodes[4:]}  # from whom they would fetch it anew

    def power() -> None:
        for node in nodes:
            node.crash()
        for node in nodes[:2]:
            node.disk.damaged.add(Thing.IMAGE)
        for node in (*nodes[:2], *nodes[4:]):
            node.start()

    scene.network.blocked |= apart
    a.promote()
    world.at(0.6, cut, scene, a, nodes[4:])
    world.at(1.2, a.crash)
    world.at(1.2, power)
    world.at(1.3, b.promote)
    world.at(2.8, scene.network.blocked.difference_update, apart)
    for node in nodes[2:4]:
        world.at(3.0, node.start)


def _forgotten_log(scene: Scene) -> None:
    """Four members forget what A committed, more than is promised to be survived; a fifth knows it, and refuses B."""
    world, (a, b), nodes = scene.world, calm(scene), scene.nodes

    def power() -> None:
        cut(scene, a, nodes[:4])
        for node in nodes[:4]:
            node.crash()
            node.disk.forget()
            node.start()

    cut(scene, a, nodes[5:])
    a.promote()
    world.at(1.5, power)
    world.at(2.1, a.crash)
    world.at(2.32, b.promote)


def _lost_for_good(scene: Scene, thing: Thing) -> None:
    """Two of the four that promised to A lose the promise; B hears them and two that never heard of A."""
    world, (a, b), nodes = scene.world, calm(scene), scene.nodes

    def power() -> None:
        cut(scene, a, nodes[2:4])
        for node in nodes[2:4]:
            node.crash()
            node.disk.damaged.add(thing)
            node.start()

    cut(scene, a, nodes[4:])
    cut(scene, b, nodes[:2])
    scene.operator.crash(NEVER)
    a.promote()
    world.at(0.6, power)
    world.at(1.5, b.promote)


def _damaged_promises(scene: Scene) -> None:
    """Nobody can say what was promised, so it is never guessed."""
    _lost_for_good(scene, Thing.PROMISE)


def _damaged_identities(scene: Scene) -> None:
    """Nobody can say whose disk it is, so it is never taken for an empty one."""
    _lost_for_good(scene, Thing.IDENTITY)


def _damaged_log(scene: Scene) -> None:
    """A member that lacks much log pulls it from others, each of which has a damaged place of its own."""
    world, (a, _), nodes = scene.world, calm(scene), scene.nodes
    apart = cut(scene, a, nodes[5:])

    def rot() -> None:
        for at, node in enumerate(nodes[1:5]):
            start = node.disk.state.start + at * 2000
            node.disk.holes.append((start, start + 1900))

    a.promote()
    world.at(1.9, rot)
    world.at(2.0, scene.network.blocked.difference_update, apart)


def _log_damaged_everywhere(scene: Scene) -> None:
    """The power of all six fails, and each starts with a damaged place of its own; then B is promoted."""
    world, (a, b), nodes = scene.world, calm(scene), scene.nodes

    def power() -> None:
        for node in nodes:
            node.crash()
        for at, node in enumerate(nodes):
            start = node.disk.state.start + at * 500
            node.disk.holes.append((start, start + 400))
            node.start()

    a.promote()
    world.at(2.5, a.crash)
    world.at(2.5, power)
    world.at(3.0, b.promote)


def _damaged_configurations(scene: Scene) -> None:
    """The first member was replaced; it and three more forget that, and B never heard of it."""
    world, (a, b), nodes, first = scene.world, calm(scene), scene.nodes, scene.operator.config

    def power() -> None:
        scene.operator.crash(NEVER)
        cut(scene, b, nodes[4:])
        for node in nodes[:4]:
            node.crash()
            node.disk.damaged.add(Thing.CONFIGURATION)
            node.start()
        b.config = first

    a.promote()
    world.at(0.6, replace_first, scene)
    world.at(2.0, a.crash)
    world.at(2.0, power)
    world.at(2.5, b.promote)


def _later_generation(scene: Scene) -> None:
    """One member believes in a generation that never was, then B campaigns."""
    world, (a, b), mad = scene.world, calm(scene), scene.nodes[5]

    def go_mad() -> None:
        mad.crash()
        mad.disk.config = replace(scene.operator.config, generation=Generation(6))
        mad.start()

    a.promote()
    world.at(1.0, go_mad)
    world.at(1.6, a.crash)
    world.at(1.7, b.promote)


DISKS: Final[dict[str, Callable[[Scene], None]]] = {
    "unreadable images": _unreadable_images,
    "forgotten log": _forgotten_log,
    "damaged log": _damaged_log,
    "log damaged everywhere": _log_damaged_everywhere,
    "damaged promises": _damaged_promises,
    "damaged identities": _damaged_identities,
    "damaged configurations": _damaged_configurations,
    "later generation": _later_generation,
}
