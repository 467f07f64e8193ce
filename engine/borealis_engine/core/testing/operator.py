"""The operator of a simulated world, as far as the volume is concerned: it replaces members, one at a time.

It keeps one object, changed by compare-and-swap, and pushes it to whom it reaches. It looks at the joiner's status now
and then and acts on what it saw a while ago, as any operator does; it may be away, and give a replacement up.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final

from borealis_engine.contract.volume import WRITE_QUORUM, Generation, Joining, Member, MemberId, VolumeConfig
from borealis_engine.core.testing.agent import Agent
from borealis_engine.core.testing.reader import Reader
from borealis_engine.core.testing.setting import Setting
from borealis_engine.core.testing.storage import Storage

PATIENCE_S: Final = 2.5  # seconds for a joiner, once all is quiet, before another one is tried


class Operator:
    """Who changes the membership."""

    def __init__(
        self, *, setting: Setting, nodes: list[Storage], by_id: dict[MemberId, Storage], agents: Sequence[Agent],
        readers: Sequence[Reader],
    ) -> None:  # fmt: skip
        self.config: VolumeConfig = setting.config
        self._setting, self._world, self._oracle = setting, setting.world, setting.oracle
        self._nodes, self._by_id, self._agents, self._readers = nodes, by_id, agents, readers
        self._random = Random(setting.world.random.random())
        self._away_until = 0.0
        self._quiet = False
        self._since = 0.0  # when the configuration was changed
        for node in nodes:
            node.ask_operator = partial(self._later, self._remind, node)

    # --- what happens to it ---------------------------------------------------------------------------------------

    def crash(self, seconds: float) -> None:
        """Be away for a while."""
        self._away_until = self._world.now + seconds

    def replace(self, *, lost: bool, old: MemberId | None = None) -> None:
        """Replace a member (any, or one that is gone already), whose node is `lost` for good, or alive."""
        if self.config.joining is not None or self._world.now < self._away_until:
            return
        gone = [member.id for member in self.config.members if self._by_id[member.id].dead]
        old = old or (gone[0] if gone else self._random.choice(self.config.members).id)
        if lost:
            self._by_id[old].lose()
        number = len(self._nodes)
        new = Member(
            id=MemberId(f"{number:016x}"), name=f"node-{number}", zone=self._by_id[old].zone, address=f"node-{number}"
        )
        joint = replace(self._next(), joining=Joining(member=new, replaces=old))
        node = Storage(member=new, setting=replace(self._setting, config=joint))
        node.peers, self._by_id[new.id] = self._by_id, node
        node.ask_operator = partial(self._later, self._remind, node)
        self._nodes.append(node)
        self._oracle.disks[node.id] = node.disk
        self._swap(joint)
        self._later(self._watch, joint.generation)

    def give_up(self) -> None:
        """Go back to the old six, if somebody is joining."""
        if self.config.joining is not None and self._world.now >= self._away_until:
            self._swap(replace(self._next(), joining=None))

    def settle(self) -> None:
        """All is quiet: everybody hears of the configuration, and whoever is gone is replaced."""
        if not self._quiet:
            self._quiet, self._away_until = True, 0.0
            self.announce()
        self._overtake()
        if self.config.joining is None:
            if any(self._by_id[member.id].dead for member in self.config.members):
                self.replace(lost=False)
        elif self._world.now > self._since + PATIENCE_S:
            self.give_up()

    def _overtake(self) -> None:
        """Swap in a number above one that a member made up, if four live by the configuration that is in force."""
        live = [node for node in self._nodes if node.up and not node.node.unfit]
        heard = max((node.generation for node in live), default=0)
        mine = [node for node in live if node.generation == self.config.generation]
        if heard > self.config.generation and len(mine) >= WRITE_QUORUM:
            self._swap(replace(self.config, generation=Generation(heard + 1)))

    def announce(self) -> None:
        """Tell everybody."""
        self._push(1.0)

    @property
    def settled(self) -> bool:
        """Whether six members are there."""
        return self.config.joining is None and not any(self._by_id[m.id].dead for m in self.config.members)

    # --- what it does ---------------------------------------------------------------------------------------------

    def _next(self) -> VolumeConfig:
        return replace(self.config, generation=Generation(self.config.generation + 1))

    def _swap(self, config: VolumeConfig) -> None:
        self._world.note("operator", "generation", config.generation, config.joining)
        self._oracle.configured(config)
        self.config, self._since = config, self._world.now
        self._push(1.0 if self._quiet else self._random.choice((0.0, 0.3, 0.8, 1.0)))

    def _push(self, share: float) -> None:
        """Tell it to some; the others learn it from each other."""
        everybody: list[Storage | Agent | Reader] = [*self._nodes, *self._agents, *self._readers]
        for one in everybody:
            if self._random.random() < share:
                self._later(_tell, one, self.config)

    def _remind(self, node: Storage) -> None:
        """Tell a member that reports no configuration."""
        if self._world.now < self._away_until:
            self._later(self._remind, node)
        elif node.up:
            node.told(self.config)

    def _watch(self, generation: Generation) -> None:
        """Finish the replacement once the joiner has said that it is current."""
        joining = self.config.joining
        if joining is None or self.config.generation != generation:
            return
        if self._world.now >= self._away_until and self.sees_current(self._by_id[joining.member.id], generation):
            self._later(self._finish, generation)
        else:
            self._later(self._watch, generation)

    @staticmethod
    def sees_current(joiner: Storage, generation: Generation) -> bool:
        """Look at the joiner's status."""
        return joiner.current and joiner.generation == generation

    def _finish(self, generation: Generation) -> None:
        joining = self.config.joining
        if joining is not None and self.config.generation == generation:
            six = tuple(joining.member if m.id == joining.replaces else m for m in self.config.members)
            self._swap(replace(self._next(), members=six, joining=None))

    def _later(self, do: Callable[..., None], *args: object) -> None:
        self._world.after(self._random.choice((0.01, 0.05, 0.4)) * self._random.random(), do, *args)


def _tell(one: Storage | Agent | Reader, config: VolumeConfig) -> None:
    if not isinstance(one, Storage):
        one.configure(config)
    elif one.up:
        one.told(config)
