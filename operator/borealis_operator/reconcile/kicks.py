"""Kicks: whoever sees that something changed calls for a pass, and however many call, one pass answers them all."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Kicks(Generic[K]):
    """One flag per key; setting it wakes whoever waits for that key."""

    def __init__(self) -> None:
        self._flags: dict[K, asyncio.Event] = {}

    def expect(self, key: K) -> None:
        """Keep kicks of a key from now on, whether or not anyone waits for them yet."""
        self._flags.setdefault(key, asyncio.Event())

    def expects(self, key: K) -> bool:
        """Whether somebody looks after a key."""
        return key in self._flags

    def kick(self, key: K) -> None:
        """Call for a pass; a key that nobody expects is ignored."""
        if flag := self._flags.get(key):
            flag.set()

    async def wait(self, key: K, *, timeout: float) -> None:
        """Return at the next kick, or after `timeout` seconds; a kick that came since the last wait counts."""
        flag = self._flags.setdefault(key, asyncio.Event())
        try:
            async with asyncio.timeout(timeout):
                await flag.wait()
        except TimeoutError:
            pass
        flag.clear()

    def forget(self, key: K) -> None:
        """Drop a key."""
        self._flags.pop(key, None)
