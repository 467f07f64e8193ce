"""Schedules written by hand for what random faults hardly ever bring about; each takes a rule to its limit.

A and B are the first two instances. Times are seconds; the lease is 0.8 at the nodes and 0.64 at the owner.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from borealis_engine.contract.volume import Generation
from borealis_engine.core.journal import Entered
from borealis_engine.core.messages import Ack, Append, Begin, GetImage, Message, Promise, PutImage, Solicit
from borealis_engine.core.testing.disk_scripts import DISKS
from borealis_engine.core.testing.network import Link
from borealis_engine.core.testing.scene import Scene
from borealis_engine.core.testing.staging import NEVER, calm, cut, replace_first


def _late_begin(scene: Scene) -> None:
    """A's Begin reaches two nodes when B has long been reigning there."""
    world, (a, b), slow = scene.world, calm(scene), {node.name for node in scene.nodes[4:]}

    def late(link: Link, message: Message) -> float:
        return 2.5 if isinstance(message, Begin) and link.client is a and link.server.name in slow else 0

    scene.network.late = late
    a.promote()
    world.at(0.5, a.crash)
    world.at(0.6, b.promote)


def _late_append(scene: Scene) -> None:
    """A's last append reaches the nodes when they hold B's entry, at the same LSN, and nothing of B's yet."""
    world, (a, b) = scene.world, calm(scene)

    def late(link: Link, message: Message) -> float:
        if isinstance(message, Append) and world.now >= 1:
            return 3.0 if link.client is a else 3.5
        return 0

    def fall_silent() -> None:
        a.busy = b.busy = False

    def write_once_more() -> None:
        a.busy = True
        world.after(0.15, a.crash)

    scene.network.late = late
    a.promote()
    world.at(0.6, fall_silent)
    world.at(1.0, write_once_more)
    world.at(1.2, b.promote)
    world.at(NEVER, setattr, b, "busy", True)


def _late_answers(scene: Scene) -> None:
    """A's beats are answered late, when nothing reaches the nodes any more; B campaigns."""
    world, (a, b) = scene.world, calm(scene)

    def late(link: Link, message: Message) -> float:
        if isinstance(message, Ack) and 1.0 <= world.now < 1.6:
            return 1.45
        return NEVER if isinstance(message, Append) and link.client is a and world.now >= 1.03 else 0

    scene.network.late = late
    a.promote()
    world.at(1.85, b.promote)


def _late_promise(scene: Scene) -> None:
    """A wins three promises twice; one of the first round arrives in the second."""
    world, (a, _), nodes = scene.world, calm(scene), scene.nodes
    later = cut(scene, a, [nodes[5]])

    def late(link: Link, message: Message) -> float:
        if isinstance(message, Promise) and link.server is nodes[3]:
            return 1.9
        slow = nodes[4:] if world.now < 0.9 else nodes[3:]
        return NEVER if isinstance(message, Solicit) and link.server in slow else 0

    scene.network.late = late
    a.promote()
    world.at(1.2, scene.network.blocked.difference_update, later)


def _torn_entry(scene: Scene) -> None:
    """Two nodes with log that B's reign voids lose power while they truncate; then C finds one of them."""
    world, (a, b), c, nodes = scene.world, calm(scene), scene.agents[2], scene.nodes
    b.busy = False
    for node in nodes[4:]:
        node.slow = 0.02
    apart = cut(scene, b, nodes[4:])
    cut(scene, c, nodes[:2])
    torn: set[str] = set()

    def watch() -> None:
        for node in nodes[4:]:
            records = node.disk.writing.records if node.disk.writing is not None else ()
            if node.name not in torn and any(isinstance(r, Entered) and r.end < node.disk.state.flush for r in records):
                torn.add(node.name)
                node.crash(torn=1)
                b.crash()
                world.after(0.1, node.start)
                world.after(0.2, c.promote)
        if len(torn) < 2:
            world.after(0.002, watch)

    a.promote()
    world.at(1.0, cut, scene, a, nodes[:4])
    world.at(1.5, a.crash)
    world.at(1.5, b.promote)
    world.at(2.3, scene.network.blocked.difference_update, apart)
    world.at(2.3, watch)
    world.at(NEVER, setattr, b, "busy", True)


def _longer_log(scene: Scene) -> None:
    """Two nodes hold much that A wrote in vain; C finds them, and two of the four that hold B's reign."""
    world, (a, b), c, nodes = scene.world, calm(scene), scene.agents[2], scene.nodes
    cut(scene, b, nodes[4:])
    cut(scene, c, nodes[:2])

    def write_little() -> None:
        b.busy = True
        world.after(0.05, b.crash)

    b.busy = False
    a.promote()
    world.at(1.0, cut, scene, a, nodes[:4])
    world.at(1.5, a.crash)
    world.at(1.5, b.promote)
    world.at(2.6, write_little)
    world.at(2.7, c.promote)


def _restart(scene: Scene) -> None:
    """All nodes lose power and come back within A's lease, and most of them hear B only."""
    world, (a, b) = scene.world, calm(scene)

    def power() -> None:
        cut(scene, a, scene.nodes[:4])
        for node in scene.nodes:
            node.crash()
            node.start()
        b.promote()

    a.promote()
    world.at(1.0, power)


def _old_generation(scene: Scene) -> None:
    """A campaigns with a configuration that is no longer in force, until a refusal teaches it the new one."""
    a, _ = calm(scene)
    a.config = replace(a.config, generation=Generation(0))
    a.promote()


def _other_image(scene: Scene) -> None:
    """Two nodes hold A's image, B's reign has another; they hear its D long before they have that, and readers ask."""
    world, (a, b), nodes = scene.world, calm(scene), scene.nodes
    apart = cut(scene, b, nodes[4:])
    scene.network.blocked |= {(f"reader-{i}", node.name) for i in range(2) for node in nodes[:4]}

    def late(link: Link, message: Message) -> float:
        if isinstance(message, PutImage) and link.client is a and link.server in nodes[:4]:
            return NEVER
        return 3.0 if isinstance(message, GetImage) else 0

    scene.network.late = late
    a.promote()
    world.at(0.8, a.crash)
    world.at(0.9, b.promote)
    world.at(2.4, scene.network.blocked.difference_update, apart)


# --- membership -----------------------------------------------------------------------------------------------------


def _late_joiner(scene: Scene) -> None:
    """What A wrote is on the one that is replaced and on three more, and reaches the joiner late."""
    world, (a, _) = scene.world, calm(scene)

    def late(link: Link, message: Message) -> float:
        joiner = link.server.name == "node-6" and isinstance(message, Append) and bool(message.data)
        return world.now + 0.4 if joiner else 0

    scene.network.late = late
    cut(scene, a, scene.nodes[4:])
    a.promote()
    world.at(0.25, setattr, a, "busy", False)
    world.at(0.6, replace_first, scene)
    world.at(NEVER, setattr, a, "busy", True)


def _slow_joiner(scene: Scene) -> None:
    """A is silent, so the joiner is told that nothing is missing while its slow disk still has it to write."""
    world, (a, _) = scene.world, calm(scene)

    def begin() -> None:
        replace_first(scene)
        scene.nodes[-1].slow = 0.2

    a.busy = False
    a.promote()
    world.at(0.6, begin)
    world.at(NEVER, setattr, a, "busy", True)


def _empty_joiner(scene: Scene) -> None:
    """B finds the one that is replaced, three more, and a joiner that holds nothing yet."""
    world, (a, b) = scene.world, calm(scene)
    cut(scene, b, scene.nodes[4:])
    a.promote()
    world.at(1.0, a.crash)
    world.at(1.0, replace_first, scene)
    world.at(1.1, b.promote)


def _new_three(scene: Scene) -> None:
    """B finds three old members and a joiner that has caught up, and not the one that it is to replace."""
    world, (a, b) = scene.world, calm(scene)
    cut(scene, b, [scene.nodes[0], *scene.nodes[4:6]])
    a.promote()
    world.at(1.0, lambda: replace_first(scene, away=NEVER))
    world.at(2.0, a.crash)
    world.at(2.1, b.promote)


def _two_generations(scene: Scene) -> None:
    """A goes on by the old generation with four members and hears no news; B takes over by the joint one."""
    world, (a, b) = scene.world, calm(scene)

    def begin() -> None:
        scene.operator.replace(lost=False)
        for configure in (b.configure, scene.nodes[0].configure, scene.nodes[1].configure):
            world.at(1.1, configure, scene.operator.config)
        cut(scene, a, scene.nodes[:2])

    a.promote()
    world.at(1.0, begin)
    world.at(2.0, b.promote)
    world.at(2.2, a.crash)


SCRIPTS: Final[dict[str, Callable[[Scene], None]]] = {
    "late begin": _late_begin,
    "late append": _late_append,
    "late answers": _late_answers,
    "late promise": _late_promise,
    "torn entry": _torn_entry,
    "longer log": _longer_log,
    "restart": _restart,
    "old generation": _old_generation,
    "other image": _other_image,
    **DISKS,
    "late joiner": _late_joiner,
    "slow joiner": _slow_joiner,
    "empty joiner": _empty_joiner,
    "new three": _new_three,
    "two generations": _two_generations,
}
