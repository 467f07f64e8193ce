"""One process, many lives: what ends the process, what begins the next life, and what a leaving reader still does."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec, Role
from borealis_engine.contract.volume import Generation, VolumeConfig
from borealis_engine.net.members import Members
from borealis_engine.postgres import instance as module
from borealis_engine.postgres import provision
from borealis_engine.postgres.attached import Site
from borealis_engine.postgres.errors import Cause, PostgresError, ReignEnded, ServerDied
from borealis_engine.postgres.instance import VAIN, Identity, Instance

DEADLINE_S = 20.0
NOTHING = cast(Any, None)
CONFIG = VolumeConfig(cluster_uid="u", generation=Generation(1), revision=1, sealed=True, members=())
SPEC = DatabaseSpec(master_username="a", master_password="b", database_name="", digest="d")


class Lives(Instance):
    """An instance whose lives are written by the test; `roles` are those that it reported."""

    def __init__(self, folder: Path, live: Callable[["Lives", int], Awaitable[None]]) -> None:
        self.roles: list[Role] = []
        self.count = 0
        self._plan = live
        site = Site(data=folder, run=folder, place=NOTHING, binaries=NOTHING, account=None)
        members = Members(tls=NOTHING, identity="i", config=CONFIG)
        identity = Identity(name="i", zone="a", lease=4.0, tls=NOTHING)
        super().__init__(site, identity, members, self._note)

    def _note(self) -> None:
        self.roles.append(self._role)

    async def _live(self) -> None:
        self.count += 1
        await self._plan(self, self.count)

    async def spend(self, stopping: asyncio.Event) -> bool:
        async with asyncio.timeout(DEADLINE_S):
            return await self.run(stopping)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.001)


async def test_a_process_that_only_fails_ends(tmp_path: Path) -> None:
    async def fail(lives: Lives, number: int) -> None:
        raise ServerDied("no")

    lives = Lives(tmp_path, fail)
    assert not await lives.spend(asyncio.Event())
    assert lives.count == VAIN


async def test_lives_that_served_do_not_count_and_a_surprise_ends_the_process(tmp_path: Path) -> None:
    async def serve(lives: Lives, number: int) -> None:
        lives._become(Role.READER, "", ready=True)
        raise RuntimeError("surprise") if number > 2 * VAIN else ServerDied("no")

    lives = Lives(tmp_path, serve)
    assert not await lives.spend(asyncio.Event())
    assert lives.count == 2 * VAIN + 1
    assert lives.roles[-1] is Role.STOPPED


@pytest.mark.parametrize("between", [True, False], ids=["between two lives", "within one"])
async def test_whoever_is_asked_to_stop_begins_no_other_life(tmp_path: Path, between: bool) -> None:
    stopping = asyncio.Event()

    async def ask(lives: Lives, number: int) -> None:
        stopping.set()
        if between:
            raise ServerDied("just then")
        await asyncio.sleep(DEADLINE_S)

    lives = Lives(tmp_path, ask)
    assert await lives.spend(stopping)
    assert lives.count == 1


@pytest.mark.slow
async def test_each_life_begins_with_nothing_of_the_last(tmp_path: Path) -> None:
    """No wish, no specification, no parameters in force, and reigns are counted by their cause."""
    stopping = asyncio.Event()

    async def reign(lives: Lives, number: int) -> None:
        assert (lives._provision.digest, lives._tuning.in_force, lives._wanted.is_set()) == ("", None, False)
        lives._provision.digest, lives._tuning.in_force = "digest", Settings(digest="x")
        lives._become(Role.WRITER, "", ready=True)
        lives._wanted.set()
        if number == 3:
            stopping.set()
            await asyncio.sleep(DEADLINE_S)
        raise ReignEnded("fenced: by another", Cause.FENCED)

    lives = Lives(tmp_path, reign)
    assert await lives.spend(stopping)
    assert lives.tally.reigns_ended == {Cause.FENCED: 2, Cause.STOPPED: 1}
    assert not lives.want_promotion()  # it is stopped for good


async def test_a_specification_that_outlasts_its_reign_is_not_called_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(door: object, spec: object) -> None:
        begun.set()
        await go.wait()

    async def live(lives: Lives, number: int) -> None:
        lives._become(Role.WRITER if number == 1 else Role.READER, "", ready=True)
        lives._ownership = None if number > 1 else lives._new_ownership()
        if number > 1:
            await asyncio.sleep(DEADLINE_S)
        await begun.wait()
        raise ReignEnded("fenced: by another", Cause.FENCED)

    monkeypatch.setattr(provision, "apply_spec", slow)
    monkeypatch.setattr(Site, "door", None)
    stopping, lives = asyncio.Event(), Lives(tmp_path, live)
    spent = asyncio.create_task(lives.spend(stopping))
    async with asyncio.timeout(DEADLINE_S):
        while not lives.ready:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        applying = asyncio.create_task(lives.apply(SPEC))
        while lives.count < 2 or not lives.ready:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        go.set()
        assert not await applying
    assert lives._provision.digest == ""
    stopping.set()
    await spent


async def test_a_spoilt_life_tells_why(tmp_path: Path) -> None:
    async def fail(lives: Lives, number: int) -> None:
        raise PostgresError(f"reason {number}")

    lives = Lives(tmp_path, fail)
    await lives.spend(asyncio.Event())
    assert lives._message == f"reason {VAIN}"
