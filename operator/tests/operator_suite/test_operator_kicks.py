"""Kicks: none is lost between two waits, many make one, and silence ends with the timeout."""

import asyncio

from borealis_operator.reconcile.kicks import Kicks


async def test_a_kick_before_the_wait_counts_once() -> None:
    kicks: Kicks[str] = Kicks()
    kicks.expect("a")
    kicks.kick("a")
    kicks.kick("a")
    async with asyncio.timeout(1):
        await kicks.wait("a", timeout=60)
    began = asyncio.get_running_loop().time()
    await kicks.wait("a", timeout=0.1)
    assert asyncio.get_running_loop().time() - began >= 0.1


async def test_a_kick_wakes_the_one_who_waits_for_that_key() -> None:
    kicks: Kicks[str] = Kicks()
    waits = {key: asyncio.create_task(kicks.wait(key, timeout=60)) for key in "ab"}
    await asyncio.sleep(0)
    kicks.kick("a")
    async with asyncio.timeout(1):
        await waits["a"]
    assert not waits["b"].done()
    waits["b"].cancel()


async def test_a_cancelled_wait_leaves_the_kick_to_the_next() -> None:
    kicks: Kicks[str] = Kicks()
    wait = asyncio.create_task(kicks.wait("a", timeout=60))
    await asyncio.sleep(0)
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)
    kicks.kick("a")
    async with asyncio.timeout(1):
        await kicks.wait("a", timeout=60)


async def test_kicks_for_nobody_are_dropped() -> None:
    kicks: Kicks[str] = Kicks()
    kicks.kick("a")
    kicks.expect("b")
    kicks.forget("b")
    kicks.kick("b")
    assert vars(kicks) == {"_flags": {}}
