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
from borealis_engine.contract.status import DatabaseSpec, InstanceStatus, Role, StorageState, StorageStatus
from borealis_engine.contract.volume import Generation, VolumeConfig
from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import AgentDown, AgentOutdated, AgentRefused
from borealis_operator.execute.certificates import Pair, issue_leaf, issue_server, make_authority
from borealis_operator.observe.belief import DISBELIEVED
from borealis_operator.observe.clock import MOST_S, RunningClock
from borealis_operator.observe.links import AgentLinks
from borealis_operator.observe.port import Credentials, Place

KEY = ClusterKey(namespace="shop", name="orders")
HOST = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() % 254 + 1}"  # of this process: others test beside it
PLACE = Place(address=HOST, name="pod", role=names.ROLE_INSTANCE)


class Agent:
    """A pod's control port that can be stopped and struck dumb."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.status = InstanceStatus(name="pod", role=Role.READER)
        self.dumb = False
        self.asked: list[str] = []
        self.says: bytes = b""  # in the place of its status
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
        return web.Response(body=self.says or self.status.to_json().encode())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            if not self.dumb:
                await response.write((self.says or self.status.to_json().encode()) + b"\n")
            await asyncio.sleep(0.05)

    async def _command(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        return web.Response(status={names.PROMOTE: 409, names.SETTINGS: self.settings}.get(request.path, 200))


def server_context(authority: Pair, folder: Path, leaf: Pair | None = None) -> ssl.SSLContext:
    leaf = leaf or issue_leaf(authority, "uid", names.ROLE_INSTANCE)
    folder.joinpath("leaf.pem").write_text(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate)
    context.load_cert_chain(folder / "leaf.pem")
    return context


def credentials(authority: Pair) -> Credentials:
    leaf = issue_leaf(authority, "uid", names.ROLE_OPERATOR)
    return Credentials(cluster_uid="uid", ca=authority.certificate, certificate=leaf.certificate, key=leaf.key)


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
    await link.follow(KEY, credentials(authority), {"u1": PLACE})
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
    await link.follow(KEY, credentials(authority), {"u1": PLACE})
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
    await link.follow(KEY, credentials(authority), {"u1": PLACE})
    agent.dumb = True
    assert not link.latest("u1").suspect
    await until(lambda: link.latest("u1").suspect)
    assert not link.latest("u1").refused
    agent.dumb = False
    await until(lambda: not link.latest("u1").suspect)


async def test_who_was_never_heard_is_suspected_at_once(links: Linked, authority: Pair) -> None:
    link, _ = links
    await link.follow(KEY, credentials(authority), {"u1": replace(PLACE, address="127.77.0.9")})
    assert link.latest("u1").suspect
    assert link.latest("u1").status is None


async def test_another_clusters_pod_is_not_believed(agent: Agent, links: Linked) -> None:
    link, _ = links
    await link.follow(KEY, credentials(make_authority("other")), {"u1": PLACE})
    assert link.latest("u1").status is None
    assert link.latest("u1").suspect


async def test_commands(agent: Agent, links: Linked, authority: Pair) -> None:
    link, _ = links
    await link.follow(KEY, credentials(authority), {"u1": PLACE})
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
    await link.follow(KEY, credentials(authority), {"u1": PLACE})
    assert not link.latest("u1").outdated
    agent.settings = answer
    refusal = {200: contextlib.nullcontext(), 503: pytest.raises(AgentRefused), 404: pytest.raises(AgentOutdated)}
    with refusal[answer]:
        await link.set_settings("u1", Settings(parameters={"work_mem": "8MB"}, digest="d"))
    assert link.latest("u1").outdated == outdated
    assert agent.asked == ["PUT /settings"]


async def test_what_became_of_parameters_kicks(agent: Agent, links: Linked, authority: Pair) -> None:
    link, kicks = links
    await link.follow(KEY, credentials(authority), {"u1": PLACE})
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
    await link.follow(KEY, credentials(authority), {"u1": PLACE})
    for lsn in range(1, 20):
        agent.status = InstanceStatus(name="pod", role=Role.WRITER, durable_lsn=lsn)
        assert await link.read_status("u1") == agent.status
    with pytest.raises(AgentDown):
        await link.read_status("u2")
    await agent.stop()
    with pytest.raises(AgentDown):
        await link.read_status("u1")


DATABASE = DatabaseSpec(master_username="u", master_password="a secret", database_name="", digest="d")
STRANGERS: dict[str, Callable[[Pair], Pair]] = {
    "postgresql": lambda authority: issue_server(authority, ["orders.shop.svc"]),
    "storage": lambda authority: issue_leaf(authority, "uid", names.ROLE_STORAGE),
    "operator": lambda authority: issue_leaf(authority, "uid", names.ROLE_OPERATOR),
    "another-cluster": lambda authority: issue_leaf(authority, "uid-2", names.ROLE_INSTANCE),
}


@pytest.mark.parametrize("leaf", STRANGERS.values(), ids=STRANGERS)
async def test_a_leaf_of_the_authority_that_names_another_role_gets_no_request(
    links: Linked, authority: Pair, tmp_path: Path, leaf: Callable[[Pair], Pair]
) -> None:
    """Least of all the master password."""
    link, _ = links
    stranger = Agent(server_context(authority, tmp_path, leaf(authority)))
    await stranger.start()
    counted = DISBELIEVED.labels("certificate")._value.get()
    try:
        await link.follow(KEY, credentials(authority), {"u1": PLACE})
        await until(lambda: link.latest("u1").suspect)
        assert link.latest("u1").status is None
        with pytest.raises(AgentDown, match="certificate"):
            await link.set_database("u1", DATABASE)
        with pytest.raises(AgentDown, match="certificate"):
            await link.read_status("u1")
        assert stranger.asked == []
        assert DISBELIEVED.labels("certificate")._value.get() > counted
    finally:
        await stranger.stop()


async def test_a_storage_node_is_asked_as_one(links: Linked, authority: Pair, tmp_path: Path) -> None:
    link, _ = links
    node = Agent(server_context(authority, tmp_path, issue_leaf(authority, "uid", names.ROLE_STORAGE)))
    node.says = StorageStatus(name="pod", member="m1", state=StorageState.CURRENT).to_json().encode()
    await node.start()
    try:
        place = replace(PLACE, role=names.ROLE_STORAGE, member="m1")
        await link.follow(KEY, credentials(authority), {"u1": place})
        await until(lambda: isinstance(link.latest("u1").status, StorageStatus))
        await link.follow(KEY, credentials(authority), {"u1": replace(place, member="m2")})
        await until(lambda: link.latest("u1").suspect)
        assert link.latest("u1").status is None
        with pytest.raises(AgentRefused, match="m2 was asked, and pod m1 answered"):
            await link.read_status("u1")
    finally:
        await node.stop()


SAID: dict[str, bytes] = {
    "another-pod": InstanceStatus(name="another", role=Role.WRITER, epoch=9).to_json().encode(),
    "a-storage-node": StorageStatus(name="pod", member="m1", state=StorageState.CURRENT).to_json().encode(),
    "a-list": b"[]",
    "a-text": b'"writer"',
    "nothing": b"null",
    "no-json": b"<html>",
    "an-unknown-role": b'{"name": "pod", "role": "emperor"}',
    "half": b'{"name": "pod"}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("says", SAID.values(), ids=SAID)
async def test_what_is_not_the_status_of_the_pod_that_was_asked_is_not_believed(
    agent: Agent, links: Linked, authority: Pair, says: bytes
) -> None:
    """And the link lives on."""
    link, _ = links
    agent.says = says
    await link.follow(KEY, credentials(authority), {"u1": PLACE})
    await until(lambda: link.latest("u1").suspect)
    assert link.latest("u1").status is None
    with pytest.raises(AgentRefused):
        await link.read_status("u1")
    agent.says = b""
    await until(lambda: link.latest("u1").status == agent.status)
    assert not link.latest("u1").suspect
