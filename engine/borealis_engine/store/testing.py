"""A disk in memory that fails as disks do: it tears what was not synced, runs full, and fails to sync.

It is part of the product so that simulations and tests of other packages can use it. Rules it keeps:
- a write is kept, lost or torn per sector of 512 bytes unless `File.sync` returned after it;
- a name (create, rename, remove) is kept or lost, in order, unless `sync_directory` returned after it;
- after a failed sync the bytes look written but are not durable, and the next sync says nothing (as on Linux);
- of bytes that could not be written each open file is told once, by its next sync; one that is opened later only if
  nobody was told before (errseq_t of Linux).
"""

import errno
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from borealis_engine.store.disk import Buffer, Unopened

SECTOR = 512


class PowerCut(Exception):
    """The power failed in the middle of an operation; every later one fails likewise."""


@dataclass(slots=True)
class _Inode:
    durable: bytearray = field(default_factory=bytearray)
    cached: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, None) is a truncation
    unreadable: set[int] = field(default_factory=set)  # numbers of sectors
    errors: int = 0  # how often bytes could not be written
    told: bool = True  # the latest of it, to anybody

    def lose(self) -> None:
        """Forget what was not synced, as the kernel does when the device did not take it."""
        self.pending.clear()
        self.errors, self.told = self.errors + 1, False

    def apply(self, target: bytearray, offset: int, data: bytes | None) -> None:
        if data is None:
            del target[offset:]
            return
        if len(target) < offset:
            target.extend(bytes(offset - len(target)))
        target[offset : offset + len(data)] = data

    def write(self, offset: int, data: bytes | None) -> None:
        self.pending.append((offset, data))
        if data is not None:
            self.unreadable -= set(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))
        self.apply(self.cached, offset, data)

    def survive(self, chance: random.Random) -> "_Inode":
        """Give what is left after a power cut: each pending sector at random."""
        left = bytearray(self.durable)
        for offset, data in self.pending:
            for at, piece in _sectors(offset, data):
                if chance.random() < 0.5:
                    self.apply(left, at, piece)
        return _Inode(durable=left, cached=bytearray(left), unreadable=set(self.unreadable))


def _sectors(offset: int, data: bytes | None) -> Iterator[tuple[int, bytes | None]]:
    """Split a write at the borders of sectors, the unit that a power cut keeps or loses."""
    if data is None:
        yield offset, None
        return
    at = 0
    while at < len(data):
        step = SECTOR - (offset + at) % SECTOR
        yield offset + at, data[at : at + step]
        at += step


class FakeDisk:
    """A `Disk` in memory with a fault to inject: after `cut_after` changing operations the power fails."""

    def __init__(self, *, capacity: int = 1 << 40) -> None:
        self.capacity = capacity
        self.cut_after: int | None = None
        self.fail_syncs = False
        self.fail_writes = False
        self.exhausted = False  # no descriptor is left to open a file
        self.operations = 0
        self.before_sync: Callable[[], None] | None = None  # what happens once, between the next write and its sync
        self._names: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._pending: list[Callable[[dict[str, _Inode]], None]] = []

    def crash(self, chance: random.Random) -> "FakeDisk":
        """Give the disk as found after a power cut now; this one is not to be used again."""
        after = FakeDisk(capacity=self.capacity)
        names = dict(self._durable)
        for change in self._pending[: chance.randint(0, len(self._pending))]:
            change(names)
        survivors = {id(inode): inode.survive(chance) for inode in names.values()}
        after._names = {name: survivors[id(inode)] for name, inode in names.items()}
        after._durable = dict(after._names)
        return after

    def step(self) -> None:
        """Count one changing operation, failing it if the power is to fail now."""
        self.operations += 1
        if self.cut_after is not None and self.operations > self.cut_after:
            raise PowerCut

    def fail_writeback(self, name: str) -> None:
        """Have the kernel write out a file by itself, and the device refuse it."""
        self._names[name].lose()

    def used(self) -> int:
        """Give the bytes in all files."""
        return sum(len(inode.cached) for inode in self._names.values())

    def create(self, name: str) -> "FakeFile":
        """Make an empty file."""
        self._want_descriptor()
        inode = _Inode()
        self._change(lambda names: names.__setitem__(name, inode))
        return FakeFile(self, inode)

    def open(self, name: str) -> "FakeFile":
        """Open an existing file."""
        self._want_descriptor()
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return FakeFile(self, self._names[name])

    def list(self, folder: str) -> list[str]:
        """Give the sorted names in a folder."""
        prefix = f"{folder}/" if folder else ""
        names = (name.removeprefix(prefix) for name in self._names if name.startswith(prefix))
        return sorted(name for name in names if "/" not in name)

    def make_folder(self, folder: str) -> None:
        """Folders are implied."""

    def rename(self, old: str, new: str) -> None:
        """Rename, replacing `new`."""
        self._change(lambda names: names.__setitem__(new, names.pop(old)))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._change(lambda names: names.__delitem__(name))

    def sync_directory(self, folder: str) -> None:
        """Make every name durable (of all folders: harsher schedules come from crashing before)."""
        self.step()
        self._durable, self._pending = dict(self._names), []

    def free(self) -> int:
        """Give the capacity that is left."""
        return max(0, self.capacity - self.used())

    def damage(self, name: str, offset: int, flip: int = 0x40) -> None:
        """Flip bits of a durable byte, as a rotting disk does."""
        inode = self._names[name]
        inode.durable[offset] ^= flip
        inode.cached[offset] ^= flip

    def spoil(self, name: str, offset: int) -> None:
        """Make a sector unreadable until it is written again."""
        self._names[name].unreadable.add(offset // SECTOR)

    def _want_descriptor(self) -> None:
        if self.exhausted:
            raise Unopened(errno.EMFILE, "too many open files")

    def _change(self, change: Callable[[dict[str, _Inode]], None]) -> None:
        self.step()
        change(self._names)
        self._pending.append(change)


class FakeFile:
    """An open file of a `FakeDisk`."""

    def __init__(self, disk: FakeDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._errors = inode.errors if inode.told else inode.errors - 1  # that it was told of

    def write_through(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write and sync."""
        self.write(buffers, offset)
        happens, self._disk.before_sync = self._disk.before_sync, None
        if happens is not None:
            happens()
        self.sync()

    def write(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write into the cache; what the power cut hits may survive in part."""
        data = b"".join(buffers)
        growth = max(0, offset + len(data) - len(self._inode.cached))
        inside = [at for at in (offset, offset + len(data)) if at % SECTOR and at < len(self._inode.cached)]
        sectors = {at // SECTOR for at in inside}
        if (
            self._disk.fail_writes or self._inode.unreadable & sectors
        ):  # a part of a sector is read before it is written
            raise OSError(errno.EIO, "input/output error")
        if growth > self._disk.free():
            raise OSError(errno.ENOSPC, "no space left on device")
        try:
            self._disk.step()
        except PowerCut:
            self._inode.write(offset, data)
            raise
        self._inode.write(offset, data)

    def read(self, size: int, offset: int) -> bytes:
        """Read from the cache; EIO where a sector cannot be read."""
        end = min(offset + size, len(self._inode.cached))
        if self._inode.unreadable & set(range(offset // SECTOR, -(-end // SECTOR))):
            raise OSError(errno.EIO, "input/output error")
        return bytes(self._inode.cached[offset : offset + size])

    def read_through(self, size: int, offset: int) -> bytes:
        """Read from the cache, which is all that this disk has."""
        return self.read(size, offset)

    def size(self) -> int:
        """Give the length in bytes."""
        return len(self._inode.cached)

    def truncate(self, size: int) -> None:
        """Cut to `size` bytes."""
        self._disk.step()
        self._inode.write(size, None)

    def sync(self) -> None:
        """Make the bytes durable, or tell once that some were lost: then, or before."""
        self._disk.step()
        if self._disk.fail_syncs:
            self._inode.lose()
        if self._errors != self._inode.errors:
            self._errors, self._inode.told = self._inode.errors, True
            raise OSError(errno.EIO, "input/output error")
        for offset, data in self._inode.pending:  # what an earlier, failed sync forgot is not among it
            self._inode.apply(self._inode.durable, offset, data)
        self._inode.pending.clear()

    def fileno(self) -> int:
        """Have no descriptor."""
        return -1

    def close(self) -> None:
        """Nothing to let go of."""
