"""One schedule: six nodes in three zones, three instances, two readers; faults, then quiet, and the verdict."""

from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Generation, Member, MemberId, VolumeConfig
from borealis_engine.core.testing.agent import Agent
from borealis_engine.core.testing.clockwork import Clockwork
from borealis_engine.core.testing.faults import Faults
from borealis_engine.core.testing.network import Network
from borealis_engine.core.testing.operator import Operator
from borealis_engine.core.testing.oracle import Oracle
from borealis_engine.core.testing.plan import Plan
from borealis_engine.core.testing.reader import Reader
from borealis_engine.core.testing.scene import Scene
from borealis_engine.core.testing.setting import Setting
from borealis_engine.core.testing.storage import Storage
from borealis_engine.core.testing.violation import require

LEASE: Final = 0.8  # seconds
COMMIT_S: Final = 8.0  # seconds after the faults in which something must be committed: ten leases
QUIET_S: Final = 12.0  # seconds in which the world must have recovered
LOOK_S: Final = 0.1  # seconds between looks at whether it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a schedule brought about."""

    elections: int = 0
    truncations: int = 0
    crashes: int = 0
    acked_bytes: int = 0
    fed_bytes: int = 0
    replaced: int = 0
    committed: int = 0  # schedules that acknowledged anything before the faults ended
    steps: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in Totals.__slots__})


class World:
    """Everything there is in one schedule."""

    def __init__(self, plan: Plan, *, trace: bool = False) -> None:
        self.clockwork = Clockwork(plan.seed, trace=trace)
        self.oracle = Oracle()
        network = Network(self.clockwork)
        setting = Setting(config=_config(), lease=LEASE, world=self.clockwork, network=network, oracle=self.oracle)
        self.nodes = [Storage(member=m, setting=setting) for m in setting.config.members]
        by_id = {node.id: node for node in self.nodes}
        for node in self.nodes:
            node.peers = by_id
        self.oracle.configured(setting.config)
        self.oracle.disks = {node.id: node.disk for node in self.nodes}
        self.agents = [Agent(name=f"agent-{i}", setting=setting, nodes=by_id) for i in range(3)]
        self.oracle.agents = self.agents
        self.readers = [Reader(name=f"reader-{i}", setting=setting, nodes=by_id) for i in range(2)]
        self.operator = Operator(
            setting=setting, nodes=self.nodes, by_id=by_id, agents=self.agents, readers=self.readers
        )
        scene = Scene(
            world=self.clockwork, network=network, nodes=self.nodes, agents=self.agents, operator=self.operator
        )
        self._until = plan.until
        self.faults = Faults(scene, plan)

    def run(self) -> Totals:
        """Let it happen; Violation if a rule was broken."""
        self.clockwork.run(self._until)
        committed = bool(self.oracle.truth)
        self._recover()
        return Totals(
            elections=self.oracle.elections,
            truncations=self.oracle.truncations,
            crashes=sum(node.crashes for node in self.nodes),
            acked_bytes=len(self.oracle.truth),
            fed_bytes=self.oracle.fed,
            replaced=self.oracle.replaced,
            committed=committed,
            steps=self.clockwork.steps,
        )

    def _recover(self) -> None:
        """A writer comes and commits; then its clients fall silent, and all six nodes and all readers have it all."""
        world, before = self.clockwork, self.oracle.end
        soon, deadline = world.now + COMMIT_S, world.now + QUIET_S
        while not (self._reigning() and self.oracle.end > before):
            require(world.now < soon, "a writer comes and commits once the faults ended")
            self.operator.settle()
            for agent in self.agents:
                agent.promote()
            world.run(world.now + LOOK_S)
        for agent in self.agents:
            agent.busy = False
        while not self._settled():
            require(world.now < deadline, "all nodes and readers become current", *self._ends(), self.operator.config)
            self.operator.settle()
            world.run(world.now + LOOK_S)
        self.oracle.settle([node.disk for node in self._members()])

    def _reigning(self) -> bool:
        return any(agent.reigning for agent in self.agents)

    def _members(self) -> list[Storage]:
        """All that can follow the owner; who promised as much to another, who crashed, is out until the next one."""
        ids = {member.id for member in self.operator.config.members}
        nodes = [node for node in self.nodes if node.id in ids]
        for agent in self.agents:
            if agent.reigning and agent.writer is not None:
                mine = (agent.writer.epoch, agent.owner)
                states = [(node, node.disk.state) for node in nodes]
                return [n for n, s in states if s.promised < mine[0] or (s.promised, s.owner) == mine]
        return nodes

    def _ends(self) -> list[int]:
        return [*(n.disk.state.flush for n in self._members()), *(reader.replayed for reader in self.readers)]

    def _settled(self) -> bool:
        epochs = {node.disk.state.epoch for node in self._members()}
        return (
            self.operator.settled and self._reigning() and len(epochs) == 1 and set(self._ends()) == {self.oracle.end}
        )


def _config() -> VolumeConfig:
    members = tuple(
        Member(id=MemberId(f"{i:016x}"), name=f"node-{i}", zone="abc"[i // 2], address=f"node-{i}") for i in range(6)
    )
    return VolumeConfig(cluster_uid="sim", generation=Generation(1), revision=1, sealed=True, members=members)
