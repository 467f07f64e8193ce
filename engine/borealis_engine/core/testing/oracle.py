"""What must hold in every schedule, judged from outside: disks, what owners wrote, what was announced and fed.

Nothing here asks the state machines; it reads effects and disks. A violation names the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from borealis_engine.contract.volume import WRITE_QUORUM, MemberId, VolumeConfig
from borealis_engine.core.messages import History
from borealis_engine.core.testing import wal
from borealis_engine.core.testing.violation import require

if TYPE_CHECKING:
    from borealis_engine.core.testing.agent import Agent
    from borealis_engine.core.testing.disk import Disk


class Oracle:
    """Keeps the log that was acknowledged (`truth`, whole records from wal.BASE on) and compares everything with it."""

    def __init__(self) -> None:
        self.disks: dict[MemberId, Disk] = {}
        self.agents: Sequence[Agent] = ()
        self._configs: dict[int, VolumeConfig] = {}  # all that ever were in force, by generation
        self._left = 0  # no generation below it may acknowledge anything
        self._established = 0  # newest epoch
        self._begun: dict[int, int] = {}  # generation in which each epoch was won
        self.replaced = 0  # members
        self.truth = bytearray()
        self.image = ""
        self.elections = 0
        self.truncations = 0
        self.fed = 0
        self._owners: dict[int, str] = {}
        self._written: dict[int, tuple[int, bytearray]] = {}  # epoch: (start, bytes)
        self._images: dict[str, bytes] = {}
        self._histories: dict[int, History] = {}
        self._highest: dict[str, tuple[int, int]] = {}  # D as announced by each writer

    @property
    def end(self) -> int:
        """End of the truth."""
        return wal.BASE + len(self.truth)

    # --- the membership ---------------------------------------------------------------------------------------------

    def configured(self, config: VolumeConfig) -> None:
        """The configuration was swapped: a joiner that became a member must be as good as any."""
        before = self._configs.get(config.generation - 1)
        self._configs[config.generation] = config
        if before is None or before.joining is None or before.joining.member not in config.members:
            return
        joiner, generation = before.joining.member.id, before.generation
        self._left = generation
        self.replaced += 1
        adopted = "a joint configuration is left when four old members have adopted it"
        self._four(_ids(before)[0], lambda _, d: d.config is not None and d.config.generation >= generation, adopted)
        whole = "what was acknowledged is on four of the new six"
        self._four(_ids(config)[0], lambda _, d: bytes(d.log[: len(self.truth)]) == self.truth, whole)
        older = max((epoch for epoch, won in self._begun.items() if won < generation), default=0)
        promised = self.disks[joiner].state.promised
        require(promised >= older, "a joiner has promised what its elders have", joiner, promised, older)

    def _counts(self, config: VolumeConfig, id: MemberId, disk: Disk) -> bool:
        """Who is joining counts once it holds the entry of the newest reign."""
        return config.joining is None or config.joining.member.id != id or disk.state.epoch >= self._established > 0

    def _quorum(
        self, config: VolumeConfig, holds: Callable[[MemberId, Disk], bool], rule: str, *details: object
    ) -> None:
        for six in _ids(config):
            self._four(six, holds, rule, *details)

    def _four(self, six: set[MemberId], holds: Callable[[MemberId, Disk], bool], rule: str, *details: object) -> None:
        have = [id[-2:] for id, disk in self.disks.items() if id in six and (disk.forgetful or holds(id, disk))]
        require(len(have) >= WRITE_QUORUM, rule, *details, have)

    # --- what owners do -------------------------------------------------------------------------------------------

    def image_made(self, image: str, log: bytes) -> None:
        """Somebody made an image 0."""
        self._images[image] = log

    def began(self, owner: str, epoch: int, history: History, config: VolumeConfig) -> None:
        """Somebody acts as the owner of an epoch."""
        known = self._configs.get(config.generation)
        require(known == config, "only who knows the membership is elected", owner, config.generation)
        require(self._owners.setdefault(epoch, owner) == owner, "an epoch has one owner", epoch, owner)
        if epoch in self._histories:
            require(self._histories[epoch] == history, "an epoch has one start", epoch, history)
            return
        self._quorum(
            config,
            lambda id, disk: disk.state.promised >= epoch and self._counts(config, id, disk),
            "four durable promises elect",
            epoch,
        )
        self._begun[epoch] = config.generation
        self._histories[epoch] = history
        self._written[epoch] = (history[-1].start, bytearray())
        self._pad(history)

    def _pad(self, history: History) -> None:
        """Recovery may have added zeros to the reign before."""
        if len(history) > 2:
            start, log = self._written[history[-2].epoch]
            log += bytes(max(0, history[-1].start - start - len(log)))

    def wrote(self, epoch: int, lsn: int, data: bytes) -> None:
        """The owner's PostgreSQL wrote WAL."""
        start, log = self._written[epoch]
        require(lsn == start + len(log), "WAL is contiguous", lsn)
        log += data

    def content(self, history: History, start: int, upto: int) -> bytes:
        """Give what the owners of `history` wrote in [start, upto)."""
        out = b""
        for i, reign in enumerate(history):
            end = history[i + 1].start if i + 1 < len(history) else upto
            low, high = max(start, reign.start), min(upto, end)
            if low < high:
                base, log = (wal.BASE, self._images[reign.image]) if i == 0 else self._written[reign.epoch]
                out += log[low - base : high - base]
        return out

    # --- what becomes durable ---------------------------------------------------------------------------------------

    def elected(self, epoch: int, history: History, end: int, *, now: float) -> None:
        """A reign is established: nobody else still serves under its lease."""
        serving = [a.owner for a in self.agents if a.reigning and a.lease_until > now]
        require(not serving, "one lease at a time", epoch, serving)
        self.elections += 1
        self._established = max(self._established, epoch)
        self.image = self.image or history[0].image
        require(history[0].image == self.image, "a volume has one image", history[0].image, self.image)
        if epoch == max(self._histories):
            require(end >= self.end, "a new reign starts above all that was acknowledged", end, self.end)

    def durable(self, owner: str, epoch: int, lsn: int, config: VolumeConfig) -> None:
        """A writer took D to `lsn`: whole records below are acknowledged."""
        require(self._highest.get(owner, (0, 0)) < (epoch, lsn), "D is monotone at its writer", owner, epoch, lsn)
        self._highest[owner] = (epoch, lsn)
        history = self._histories[epoch]
        start = self.end
        if lsn <= start:
            self._same(history, max(history[-1].start, wal.BASE), lsn)
            return
        grown = self.content(history, start, lsn)
        require(len(grown) == lsn - start, "D covers only what was written", epoch, lsn)
        require(config.generation >= self._left, "a generation that was left acknowledges nothing", config.generation)
        self._quorum(
            config,
            lambda id, disk: disk.state.start > 0 and disk.written(start, lsn) == grown,
            "D is on four disks",
            (epoch, start, lsn),
        )
        whole = [end for end in wal.ends(start, grown) if end <= lsn]
        if whole:
            self.truth += grown[: whole[-1] - start]

    def _same(self, history: History, start: int, upto: int) -> None:
        mine = self.content(history, start, upto)
        truth = bytes(self.truth[start - wal.BASE : upto - wal.BASE])
        require(mine == truth, "acknowledged bytes never change", start, upto)

    def truncating(self, name: str, log: bytes, keep: int) -> None:
        """A disk voids its log from `keep` on: nothing acknowledged may be among it."""
        if keep < len(log):
            self.truncations += 1
            cut = log[keep : min(len(self.truth), keep + wal.TELLING)]
            if len(cut) == wal.TELLING and log[:keep] == self.truth[:keep]:
                require(cut != self.truth[keep : keep + len(cut)], "acknowledged bytes are never cut", name, keep)

    # --- what readers see -------------------------------------------------------------------------------------------

    def replayed(self, name: str, start: int, data: bytes) -> None:
        """A reader replays whole records."""
        self.fed += len(data)
        truth = self.truth[start - wal.BASE : start - wal.BASE + len(data)]
        require(data == truth, "readers see only what was acknowledged", name, start, len(data))

    # --- in the end ---------------------------------------------------------------------------------------------------

    def settle(self, disks: Iterable[Disk]) -> None:
        """After the faults ended: everybody holds the truth, and what its history says."""
        for disk in disks:
            state = disk.state
            require(state.history[0].image == self.image, "one image on all disks", disk.name)
            require(bytes(disk.log[: len(self.truth)]) == self.truth, "the truth is everywhere", disk.name, state.flush)
            wanted = self.content(state.held, state.start, state.flush)
            require(bytes(disk.log) == wanted, "a log is what its owners wrote", disk.name)


def _ids(config: VolumeConfig) -> list[set[MemberId]]:
    """Of each of these sixes four must agree; counted here once more, so that the core is not asked."""
    old = {member.id for member in config.members}
    joining = config.joining
    return [old] if joining is None else [old, {*old, joining.member.id} - {joining.replaces}]
