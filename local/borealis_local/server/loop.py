"""A controller's loop: a pass after every change that matters, never two at once, none lost.

A pass looks at everything anew, so a missed or merged change costs nothing but time. A pass that fails is logged and
tried again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from borealis_local.machinery.resources import Group
from borealis_local.server.store import Change, Store

log = logging.getLogger(__name__)
SETTLE_S = 0.01  # changes that come in one burst make one pass
RETRY_S = 1.0


async def follow(
    store: Store, sync: Callable[[], Awaitable[float | None]], *, name: str, matters: Callable[[Change], bool]
) -> None:
    """Run `sync` now, after each change that matters, and when the seconds that it gives have passed; for ever."""
    kick = asyncio.Event()

    def changed(change: Change) -> None:
        if matters(change):
            kick.set()

    with store.subscribed(changed):
        while True:
            kick.clear()
            delay = await _pass(sync, name)
            try:
                async with asyncio.timeout(delay):
                    await kick.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(SETTLE_S)


async def _pass(sync: Callable[[], Awaitable[float | None]], name: str) -> float | None:
    try:
        return await sync()
    except Exception:
        log.exception("pass of %s failed", name)
        return RETRY_S


def within(groups: frozenset[Group]) -> Callable[[Change], bool]:
    """Give the test whether a change is to one of these kinds."""
    return lambda change: change.key.group in groups
