"""What must hold in every schedule, judged from outside: disks, what owners wrote, what was announced and fed.

Nothing here asks the state machines; it reads effects and disks. A violation names the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from borealis_engine.contract.volume import WRITE_QUORUM
from borealis_engine.core.messages import History
from borealis_engine.core.testing import wal
from borealis_engine.core.testing.violation import require

if TYPE_CHECKING:
    from borealis_engine.core.testing.agent import Agent
    from borealis_engine.core.testing.disk import Disk


class Oracle:
    """Keeps the log that was acknowledged (`truth`, whole records from wal.BASE on) and compares everything with it."""

    def __init__(self) -> None:
        self.disks: Mapping[str, Disk] = {}
        self.agents: Sequence[Agent] = ()
        self.generation = 0  # of the nodes' configuration
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

    # --- what owners do -------------------------------------------------------------------------------------------

    def image_made(self, image: str, log: bytes) -> None:
        """Somebody made an image 0."""
        self._images[image] = log

    def began(self, owner: str, epoch: int, history: History, generation: int) -> None:
        """Somebody acts as the owner of an epoch."""
        require(generation == self.generation, "only who knows the membership is elected", owner, generation)
        require(self._owners.setdefault(epoch, owner) == owner, "an epoch has one owner", epoch, owner)
        if epoch in self._histories:
            require(self._histories[epoch] == history, "an epoch has one start", epoch, history)
            return
        promised = [d.name for d in self.disks.values() if d.state.promised >= epoch]
        require(len(promised) >= WRITE_QUORUM, "four durable promises elect", epoch, promised)
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
        self.image = self.image or history[0].image
        require(history[0].image == self.image, "a volume has one image", history[0].image, self.image)
        if epoch == max(self._histories):
            require(end >= self.end, "a new reign starts above all that was acknowledged", end, self.end)

    def durable(self, owner: str, epoch: int, lsn: int) -> None:
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
        holders = [d.name for d in self.disks.values() if d.read(start, lsn) == grown and d.state.start]
        require(len(holders) >= WRITE_QUORUM, "D is on four disks", epoch, start, lsn, holders)
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
