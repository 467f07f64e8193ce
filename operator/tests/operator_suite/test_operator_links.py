"""Links to pods over real TLS: change, reset, silence, recovery, commands, and who is believed."""

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from borealis_engine.contract import names
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import InstanceStatus, Role
from borealis_engine.contract.volume import Generation, VolumeConfig
from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import AgentDown, AgentOutdated, AgentRefused
from borealis_operator.execute.certificates import Pair, issue_leaf, make_authority
from borealis_operator.observe.clock import MOST_S, RunningClock
from borealis_operator.observe.links import AgentLinks
from borealis_operator.observe.port import Credentials

KEY = ClusterKey(namespace="shop", name="orders")
HOST = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() % 254 + 1}"  # of this process: others test beside it


class Agent:
    """A pod's control port that can be stopped and struck dumb."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.status = InstanceStatus(name="pod", role=Role.READER)
        self.dumb = False
        self.asked: list[str] = []
        self.settings = 200  # what a change of parameters is answered with
        self._context = context
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get(names.STATUS, self._status)
        app.router.add_get(names.EVENTS, self._events)
        app.router.add_route("*", "/{rest:.*}", self._command)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, names.CONTROL_PORT, ssl_context=self._context).start()

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _status(self, _: web.Request) -> web.Response:
        while self.dumb:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return web.Response(text=self.status.to_json())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            if not self.dumb:
                await response.write(self.status.to_json().encode() + b"\n")
            await asyncio.sleep(0.05)

    async def _command(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        return web.Response(status={names.PROMOTE: 409, names.SETTINGS: self.settings}.get(request.path, 200))


def server_context(authority: Pair, folder: Path) -> ssl.SSLContext:
    leaf = issue_leaf(authority, "uid", names.ROLE_INSTANCE)
    folder.joinpath("leaf.pem").write_text(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate)
    context.load_cert_chain(folder / "leaf.pem")
    return context


def credentials(authority: Pair) -> Credentials:
    leaf = issue_leaf(authority, "uid", names.ROLE_OPERATOR)
    return Credentials(ca=authority.certificate, certificate=leaf.certificate, key=leaf.key)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def authority() -> Pair:
    return make_authority("uid")


@pytest.fixture
async def agent(authority: Pair, tmp_path: Path) -> AsyncIterator[Agent]:
    agent = Agent(server_context(authority, tmp_path))
    await agent.start()
    yield agent
    await agent.stop()


@pytest.fixture
async def links() -> AsyncIterator[tuple[AgentLinks, list[ClusterKey]]]:
    kicks: list[ClusterKey] = []
    links = AgentLinks(kicks.append)
    yield links, kicks
    await links.close()


Linked = tuple[AgentLinks, list[ClusterKey]]


async def test_a_change_kicks_and_a_position_does_not(agent: Agent, links: Linked, authority: Pair) -> None:
    link, kicks = links
    await link.follow(KEY, credentials(authority), {"u1": HOST})
    assert link.latest("u1").status == agent.status
    kicks.clear()
    agent.status = InstanceStatus(name="pod", role=Role.READER, replay_lsn=77)
    await until(lambda: link.latest("u1").status == agent.status)
    assert kicks == []
    agent.status = InstanceStatus(name="pod", role=Role.WRITER, epoch=2)
    await until(lambda: kicks == [KEY])
    assert link.latest("u1").status == agent.status


async def test_a_reset_is_confirmed_by_a_probe_and_forgiven(agent: Agent, links: Linked, authority: Pair) -> None:
    link, kicks = links
    await link.follow(KEY, credentials(authority), {"u1": HOST})
    kicks.clear()
    await agent.stop()
    await until(lambda: link.latest("u1").suspect)
    assert link.latest("u1").refused
    assert kicks == [KEY]
    await until(lambda: link.latest("u1").silent_for > 0.2)
    await agent.start()
    await until(lambda: not link.latest("u1").suspect)
    assert link.latest("u1").silent_for == 0


async def test_a_frozen_agent_is_suspected(agent: Agent, links: Linked, authority: Pair) -> None:
    link, _ = links
    await link.follow(KEY, credentials(authority), {"u1": HOST})
    agent.dumb = True
    assert not link.latest("u1").suspect
    await until(lambda: link.latest("u1").suspect)
    assert not link.latest("u1").refused
    agent.dumb = False
    await until(lambda: not link.latest("u1").suspect)


async def test_who_was_never_heard_is_suspected_at_once(links: Linked, authority: Pair) -> None:
    link, _ = links
    await link.follow(KEY, credentials(authority), {"u1": "127.77.0.9"})
    assert link.latest("u1").suspect
    assert link.latest("u1").status is None


async def test_another_clusters_pod_is_not_believed(agent: Agent, links: Linked) -> None:
    link, _ = links
    await link.follow(KEY, credentials(make_authority("other")), {"u1": HOST})
    assert link.latest("u1").status is None
    assert link.latest("u1").suspect


async def test_commands(agent: Agent, links: Linked, authority: Pair) -> None:
    link, _ = links
    await link.follow(KEY, credentials(authority), {"u1": HOST})
    config = VolumeConfig(cluster_uid="uid", generation=Generation(1), revision=1, sealed=True, members=())
    await link.push_volume("u1", config)
    with pytest.raises(AgentRefused, match="409"):
        await link.promote("u1")
    assert agent.asked == ["PUT /volume", "POST /promote"]
    await agent.stop()
    with pytest.raises(AgentDown):
        await link.push_volume("u1", config)
    with pytest.raises(AgentDown):
        await link.promote("nobody")


@pytest.mark.parametrize(("answer", "outdated"), [(200, False), (503, False), (404, True)])
async def test_an_agent_of_an_older_release_is_known_by_its_answer(
    agent: Agent, links: Linked, authority: Pair, answer: int, outdated: bool
) -> None:
    link, _ = links
    await link.follow(KEY, credentials(authority), {"u1": HOST})
    assert not link.latest("u1").outdated
    agent.settings = answer
    refusal = {200: contextlib.nullcontext(), 503: pytest.raises(AgentRefused), 404: pytest.raises(AgentOutdated)}
    with refusal[answer]:
        await link.set_settings("u1", Settings(parameters={"work_mem": "8MB"}, digest="d"))
    assert link.latest("u1").outdated == outdated
    assert agent.asked == ["PUT /settings"]


async def test_what_became_of_parameters_kicks(agent: Agent, links: Linked, authority: Pair) -> None:
    link, kicks = links
    await link.follow(KEY, credentials(authority), {"u1": HOST})
    changes: list[dict[str, Any]] = [{"settings": "d"}, {"refused": {"a": "b"}}, {"pending_restart": ("c",)}]
    for change in changes:
        kicks.clear()
        agent.status = replace(agent.status, **change)
        await until(lambda: kicks == [KEY])


async def test_the_clock_stands_still_while_the_loop_does() -> None:
    clock = RunningClock()
    clock.start()
    await until(lambda: clock.now > 0.1)
    before = clock.now
    time.sleep(1.0)  # noqa: ASYNC251 the loop is to stand still
    await asyncio.sleep(0)
    assert clock.now - before <= 2 * MOST_S
    await clock.stop()


async def test_a_status_is_asked_for_and_not_remembered(agent: Agent, links: Linked, authority: Pair) -> None:
    """The stream may not have told yet; an answer is not older than its question."""
    link, _ = links
    await link.follow(KEY, credentials(authority), {"u1": HOST})
    for lsn in range(1, 20):
        agent.status = InstanceStatus(name="pod", role=Role.WRITER, durable_lsn=lsn)
        assert await link.read_status("u1") == agent.status
    with pytest.raises(AgentDown):
        await link.read_status("u2")
    await agent.stop()
    with pytest.raises(AgentDown):
        await link.read_status("u1")
