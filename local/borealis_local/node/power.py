"""Power of the fake nodes: a node without it runs nothing and answers nothing."""

import asyncio
from collections.abc import Callable


class Power:
    """Whether each node is on."""

    def __init__(self, nodes: tuple[str, ...], changed: Callable[[str, bool], None]) -> None:
        """All nodes are on; `changed(node, on)` is told when that changes."""
        self._on = {n: asyncio.Event() for n in nodes}
        self._changed = changed
        for event in self._on.values():
            event.set()

    def is_on(self, node: str) -> bool:
        """Whether a node is on; unknown nodes are not."""
        return node in self._on and self._on[node].is_set()

    async def wait(self, node: str) -> None:
        """Wait until a node is on."""
        await self._on[node].wait()

    def off(self, node: str) -> None:
        """Cut the power of a node."""
        if self._on[node].is_set():
            self._on[node].clear()
            self._changed(node, False)

    def on(self, node: str) -> None:
        """Give a node its power back."""
        if not self._on[node].is_set():
            self._on[node].set()
            self._changed(node, True)
