"""What goes wrong in a schedule: crashes of nodes and instances, of zones, of everything; partitions and frozen
connections; disks.

Each seed leaves whole classes of faults out: what one of them hides, another seed shows (swarm testing). All faults
end at the time that the plan says; then the world has to recover by itself.
"""

from operator import itemgetter
from random import Random
from typing import Final

from borealis_engine.core.testing.plan import FAULTS_S, Plan
from borealis_engine.core.testing.rot import Fault, Rot
from borealis_engine.core.testing.scene import Scene
from borealis_engine.core.testing.scripts import SCRIPTS
from borealis_engine.core.testing.storage import Storage

SHARE: Final = 0.75  # of the seeds that have a class of faults


class Faults:
    """Draws a schedule of faults and lets them happen."""

    def __init__(self, scene: Scene, plan: Plan) -> None:
        self.happened: list[int] = []  # their numbers
        self._scene = scene
        self._world, self._network, self._until = scene.world, scene.network, plan.until
        self._nodes, self._agents, self._operator = scene.nodes, scene.agents, scene.operator
        if plan.script:
            SCRIPTS[plan.script](scene)
        else:
            self._draw(plan)
        self._world.at(plan.until, self._end)

    def _draw(self, plan: Plan) -> None:
        world, random = self._world, self._world.random
        dice, membership = Random(f"swarm {plan.seed}"), plan.seed % 2 == 1
        crashes: list[Fault] = [self._node, self._node, self._zone, self._outage, self._quick_restart]
        classes: list[list[Fault]] = [
            [self._power], [self._agent, self._agent, self._hand_over, self._rival],
            [self._partition, self._isolate], [self._freeze, self._freeze_owner],
        ]  # fmt: skip
        kinds = sum((kinds for kinds in classes if dice.random() < SHARE), crashes if dice.random() < SHARE else [])
        kinds = kinds or crashes
        chosen = random.sample(kinds, random.randint(min(3, len(kinds)), len(kinds)))
        drawn = [(random.uniform(0.1, FAULTS_S), random.choice(chosen)) for _ in range(random.randint(4, 14))]
        if membership:
            drawn += self._membership(Random(plan.seed))
        drawn += Rot(self._scene, dice, membership=membership).draw(dice, FAULTS_S)
        for number, (when, fault) in enumerate(sorted(drawn, key=itemgetter(0)), 1):
            if number not in plan.without and when < plan.until:
                world.at(when, self._happen, number, fault)
        for agent in self._agents:
            world.at(random.uniform(0, 0.3), agent.promote)

    def _membership(self, random: Random) -> list[tuple[float, Fault]]:
        """Every other schedule replaces members, up to three, one after the other."""
        kinds = [self._lose, self._lose, self._drain]
        drawn: list[tuple[float, Fault]] = [
            (random.uniform(0.1, FAULTS_S * 0.8), random.choice(kinds)) for _ in range(random.randint(1, 5))
        ]
        for fault in (self._operator_away, self._give_up, self._joiner):
            if random.random() < 0.4:
                drawn.append((random.uniform(0.3, FAULTS_S), fault))
        return drawn

    def _lose(self) -> None:
        """A node is gone for good."""
        self._operator.replace(lost=True)

    def _drain(self) -> None:
        """A node is replaced that lives, and lives on."""
        self._operator.replace(lost=False)

    def _give_up(self) -> None:
        self._operator.give_up()

    def _operator_away(self) -> None:
        self._operator.crash(self._pause())

    def _joiner(self) -> None:
        """The newest node loses power."""
        self._down(self._nodes[-1:])

    def _happen(self, number: int, fault: Fault) -> None:
        self.happened.append(number)
        self._world.note("faults", f"{number}:", fault.__name__.strip("_"))
        fault()

    def _end(self) -> None:
        """Repair everything."""
        self._world.note("faults", "end")
        self._network.blocked.clear()
        self._network.late = None
        for node in self._nodes:
            node.start()

    def _pause(self) -> float:
        return min(self._world.random.choice((0.01, 0.3, 1.5)), self._until - self._world.now)

    def _down(self, nodes: list[Storage]) -> None:
        for node in nodes:
            node.crash()
            self._world.after(self._pause(), node.start)

    def _node(self) -> None:
        self._down([self._world.random.choice(self._nodes)])

    def _zone(self) -> None:
        zone = self._world.random.choice(self._nodes).zone
        self._down([n for n in self._nodes if n.zone == zone])

    def _outage(self) -> None:
        self._down(self._nodes)

    def _power(self) -> None:
        """The power of everything fails at once; nothing that was not synced is left."""
        for agent in self._agents:
            agent.crash()
        for node in self._nodes:
            node.crash(torn=0)
            self._world.after(self._pause(), node.start)

    def _quick_restart(self) -> None:
        """Several nodes lose power and come back at once: what was answered must have been durable."""
        nodes = self._world.random.sample(self._nodes, self._world.random.randint(2, 5))
        for node in nodes:
            node.crash()
            self._world.after(0.001, node.start)

    def _agent(self) -> None:
        agent = self._world.random.choice(self._agents)
        agent.crash()

    def _hand_over(self) -> None:
        for agent in self._agents:
            if agent.reigning:
                agent.resign()

    def _rival(self) -> None:
        self._world.random.choice(self._agents).promote()

    def _block(self, pairs: set[tuple[str, str]]) -> None:
        self._world.note("faults", "partition", sorted(pairs))
        self._network.blocked |= pairs
        self._world.after(self._pause(), self._network.blocked.difference_update, pairs)

    def _partition(self) -> None:
        """Some see some."""
        ends = [n.name for n in self._nodes] + [a.name for a in self._agents]
        side = {e for e in ends if self._world.random.random() < 0.5}
        self._block({(a, b) for a in ends for b in ends if (a in side) != (b in side)})

    def _isolate(self) -> None:
        """One instance sees only a few nodes."""
        agent = self._world.random.choice(self._agents)
        unseen = self._world.random.sample(self._nodes, self._world.random.randint(1, 6))
        self._block({(agent.name, node.name) for node in unseen})

    def _freeze(self) -> None:
        """What is under way on some connections arrives late, or after the connection was given up."""
        for link in sorted(self._network.links, key=lambda link: link.conn):
            if self._world.random.random() < 0.3:
                link.frozen_until = self._world.now + self._pause()

    def _freeze_owner(self) -> None:
        """The owner's connections stall, and some break while what they carry is still to come."""
        names = {agent.name for agent in self._agents if agent.reigning}
        for link in sorted(self._network.links, key=lambda link: link.conn):
            if link.client.name in names and self._world.random.random() < 0.7:
                link.frozen_until = self._world.now + self._pause()
                if self._world.random.random() < 0.5:
                    link.close()
                    link.client.lost(link)
