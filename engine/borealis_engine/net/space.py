"""How much a storage node's disk can still take: its file system, or its claim where that ends before."""

from typing import TYPE_CHECKING, Final

from borealis_engine.core.room import choose_reserve

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell

FILL_BYTES: Final = 2 << 20  # that filling ahead takes in one step, and as many again


class Space:
    """The space of one member. `tight`: its reserve begins, and nothing is filled ahead."""

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell
        self.claim = 0  # bytes that the member may take, where its disk does not end before; 0: the disk alone counts
        self.tight = False

    @property
    def free(self) -> int:
        """Return the bytes that the member may still take; 0 without a disk that can be used."""
        store = self._shell.store
        if store is None:
            return 0
        free = store.disk.free()
        return min(free, max(0, self.claim - store.bytes_used)) if self.claim else free

    def measure(self) -> None:
        """Tell the node how much room there is."""
        shell, store = self._shell, self._shell.store
        if store is None or shell.node.unfit:
            return
        free = self.free
        reserve = choose_reserve(store.bytes_used + free)
        self.tight = free < reserve + FILL_BYTES
        shell.input(lambda now: shell.node.measured(free + store.journal.ahead, reserve))
