"""What goes wrong in a schedule: crashes of nodes and instances, zones, everything; partitions; frozen connections.

All faults end at the time that the plan says; then the world has to recover by itself.
"""

from collections.abc import Callable
from operator import itemgetter
from random import Random

from borealis_engine.core.testing.plan import FAULTS_S, Plan
from borealis_engine.core.testing.scene import Scene
from borealis_engine.core.testing.scripts import SCRIPTS
from borealis_engine.core.testing.storage import Storage


class Faults:
    """Draws a schedule of faults and lets them happen."""

    def __init__(self, scene: Scene, plan: Plan) -> None:
        self.happened: list[int] = []  # their numbers
        self._world, self._network, self._until = scene.world, scene.network, plan.until
        self._nodes, self._agents, self._operator = scene.nodes, scene.agents, scene.operator
        if plan.script:
            SCRIPTS[plan.script](scene)
        else:
            self._draw(plan)
        self._world.at(plan.until, self._end)

    def _draw(self, plan: Plan) -> None:
        world, random = self._world, self._world.random
        kinds: list[Callable[[], None]] = [
            self._node, self._node, self._zone, self._agent, self._agent, self._outage, self._quick_restart,
            self._partition, self._isolate, self._freeze, self._freeze_owner, self._hand_over, self._rival,
        ]  # fmt: skip
        chosen = random.sample(kinds, random.randint(3, len(kinds)))
        drawn = [(random.uniform(0.1, FAULTS_S), random.choice(chosen)) for _ in range(random.randint(4, 14))]
        if plan.seed % 2:
            drawn += self._membership(Random(plan.seed))
        for number, (when, fault) in enumerate(sorted(drawn, key=itemgetter(0)), 1):
            if number not in plan.without and when < plan.until:
                world.at(when, self._happen, number, fault)
        for agent in self._agents:
            world.at(random.uniform(0, 0.3), agent.promote)

    def _membership(self, random: Random) -> list[tuple[float, Callable[[], None]]]:
        """Every other schedule replaces members, up to three, one after the other."""
        kinds = [self._lose, self._lose, self._drain]
        drawn: list[tuple[float, Callable[[], None]]] = [
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

    def _happen(self, number: int, fault: Callable[[], None]) -> None:
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
