"""A writer and a reader as clients and the operator meet them: TLS, parameters, a reader that leaves, metrics."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from borealis_engine.contract import names
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec, InstanceStatus, Role
from borealis_engine.net.testing import StorageNodes
from borealis_engine.net.testing.authority import HOST, SERVER
from borealis_engine.postgres.instance import DRAIN_S, LINGER_S
from borealis_engine.postgres.sql import Door, Session, persist, rows, session
from borealis_engine.postgres.testing import Agent, place
from borealis_engine.postgres.testing.agents import DEADLINE_S

pytestmark = pytest.mark.postgres
lasts = pytest.mark.asyncio(loop_scope="module")  # with `lasting`
SPEC = DatabaseSpec(master_username="app", master_password="a password", database_name="app", digest="d")
FOLLOWS = """
    select pid from pg_stat_activity
    where application_name = 'borealis agent' and query like '%pg_is_in_recovery%' and pid <> pg_backend_pid()
"""
END = FOLLOWS.replace("select pid", "select pg_terminate_backend(pid, 1000)")
GIVEN = Settings(parameters={"work_mem": "5MB", "wrk_mem": "1MB"}, digest="given")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Agent, Agent]]:
    """A writer and a reader with a server certificate and GIVEN parameters."""
    async with StorageNodes(folder) as nodes:
        writer, reader = (Agent(nodes, folder, number) for number in range(2))
        extra = {names.ENV_SERVER_TLS_DIR: str(nodes.certificates[SERVER]), names.ENV_SETTINGS: GIVEN.to_json()}
        try:
            await asyncio.gather(writer.start(extra), reader.start(extra))
            await writer.until(lambda status: status.role is Role.STARTING)
            assert await writer.put(names.SETTINGS, GIVEN.to_json()) == 202  # nothing runs yet
            assert await writer.post(names.PROMOTE) == 202
            await writer.ready(Role.WRITER)
            assert await writer.apply(SPEC) == 200
            status = await writer.status()
            await reader.until(lambda s: s.ready and s.role is Role.READER and s.replay_lsn >= status.durable_lsn)
            yield writer, reader
        finally:
            for agent in (writer, reader):
                await agent.kill()


@pytest.fixture
async def pair(folder: Path) -> AsyncIterator[tuple[Agent, Agent]]:
    """A pair of the test's own: it may end one or change its role."""
    async with serving(folder) as agents:
        yield agents


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(postgresql: None) -> AsyncIterator[tuple[Agent, Agent]]:
    """A pair for the tests of this file that leave it as they found it."""
    with place() as folder:
        async with serving(folder) as agents:
            yield agents


async def ask(agent: Agent, query: str, **more: str) -> object:
    async with await agent.connect(SPEC, **more) as connection:
        row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return row[0]


def door_of(agent: Agent) -> Door:
    """The way to an agent's own sessions."""
    return Door(sockets=str(agent.directory / f"run-{agent.number}"), port=names.POSTGRES_PORT, major=15)


@lasts
async def test_clients_verify_the_server_and_may_do_without(lasting: tuple[Agent, Agent]) -> None:
    ca = str(lasting[0].nodes.certificates[SERVER] / "ca.crt")
    ours = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    for agent in lasting:
        assert (await agent.status()).tls
        assert await ask(agent, ours, host=HOST, sslmode="verify-full", sslrootcert=ca) is True
        assert await ask(agent, ours, sslmode="disable") is False
        with pytest.raises(psycopg.OperationalError, match="does not match host name"):
            await agent.connect(SPEC, host="elsewhere", sslmode="verify-full", sslrootcert=ca)
        with pytest.raises(psycopg.OperationalError, match=r"no protocols|protocol version|unsupported"):
            await agent.connect(SPEC, sslmode="require", ssl_min_protocol_version="TLSv1",
                                ssl_max_protocol_version="TLSv1.1")  # fmt: skip


async def test_parameters_hold_on_both_change_and_survive_a_promotion(pair: tuple[Agent, Agent]) -> None:
    writer, reader = pair
    for agent in pair:
        status = await agent.status()
        assert (status.settings, list(status.refused)) == ("given", ["wrk_mem"])
        assert await ask(agent, "show work_mem") == "5MB"
        assert await agent.put(names.SETTINGS, '{"parameters":{"work_mem":8}}') == 400
        changed = Settings(parameters={"work_mem": "6MB", "wal_buffers": "2MB"}, read_only=True, digest="changed")
        assert await agent.put(names.SETTINGS, changed.to_json()) == 200
        status = await agent.status()
        assert (status.settings, dict(status.refused), status.pending_restart) == ("changed", {}, ("wal_buffers",))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await ask(writer, "create table t(i int)")
    another = DatabaseSpec(master_username="app", master_password="new one", database_name="more", digest="d2")
    assert await writer.apply(another) == 200  # the agent itself may write
    extended = replace(another, digest="d3", extensions={"app": ("hstore",), "nowhere": ("hstore",)})
    assert await writer.apply(extended) == 200
    said = (await writer.until(lambda status: len(status.extensions) == 2)).extensions
    assert said["hstore in app"] == "" or "does not have it" in said["hstore in app"]
    assert said["hstore in nowhere"].startswith("there is no database nowhere")
    assert await writer.apply(SPEC) == 200

    os.kill(writer.postmaster(), signal.SIGKILL)
    await writer.until(lambda status: status.role is not Role.WRITER)
    assert await reader.post(names.PROMOTE) == 202
    await reader.ready(Role.WRITER)
    assert await ask(reader, "show work_mem") == "6MB"
    assert (await reader.status()).pending_restart == ("wal_buffers",)
    status = await writer.ready(Role.READER)  # on a new PostgreSQL, in the same process
    assert (status.settings, status.pending_restart) == ("changed", ())
    assert await ask(writer, "show wal_buffers") == "2MB"
    _, text = await writer.probe("/metrics")
    assert 'borealis_instance_reigns_ended_total{cause="server-died"} 1.0' in text
    assert "borealis_instance_attachments_total 2.0" in text


async def test_a_reader_serves_on_until_nobody_is_sent_to_it_and_tells_its_clients(pair: tuple[Agent, Agent]) -> None:
    _, reader = pair
    loop = asyncio.get_running_loop()
    assert reader.process is not None
    assert (await reader.probe("/readyz"))[0] == 200
    async with await reader.connect(SPEC) as client:
        began = loop.time()
        reader.process.terminate()
        await reader.until(lambda status: not status.ready)
        assert loop.time() - began < DRAIN_S / 2
        assert (await reader.probe("/readyz"))[0] == 503
        assert await reader.post(names.PROMOTE) == 409
        assert await ask(reader, "select 1") == 1  # one that came late is served
        with pytest.raises(psycopg.errors.AdminShutdown, match="terminating connection due to administrator command"):
            await client.execute("select pg_sleep(60)")
        assert loop.time() - began > DRAIN_S * 0.9
    assert await reader.ended() == 0
    assert not reader.postgres()


async def test_a_stopped_writer_refuses_connections_while_its_successor_takes_over(pair: tuple[Agent, Agent]) -> None:
    writer, reader = pair
    loop = asyncio.get_running_loop()
    assert writer.process is not None
    began = loop.time()
    writer.process.terminate()
    await writer.until(lambda status: status.role is Role.STOPPED)
    async with asyncio.timeout(DEADLINE_S):
        while writer.postgres():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert await reader.post(names.PROMOTE) == 202
    with pytest.raises(psycopg.OperationalError, match="refused"):
        await writer.connect(SPEC)
    assert await writer.ended() == 0
    assert loop.time() - began > LINGER_S * 0.9
    await reader.ready(Role.WRITER)


@lasts
async def test_metrics_tell_of_clients_commits_and_roles(lasting: tuple[Agent, Agent]) -> None:
    writer, reader = lasting
    async with await writer.connect(SPEC) as client:
        await client.execute("create table t(i int)")
        await client.execute("begin")
        await client.execute("select 1")
        text = await scrape(writer, lambda text: 'connections{state="idle_in_transaction"} 1.0' in text)
    for line in ('role{role="writer"} 1.0', "tls 1.0", "promotions_total 1.0", "refused_parameters 1.0", "ready 1.0"):
        assert f"borealis_instance_{line}\n" in text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["borealis_instance_commit_seconds_count"]) >= 1
    assert float(values["borealis_instance_log_bytes_total"]) >= 1000
    assert "borealis_instance_lag_seconds" not in values
    _, text = await reader.probe("/metrics")
    assert "borealis_instance_lag_seconds " in text
    assert "borealis_instance_commit_seconds_count 0.0\n" in text


@lasts
async def test_a_frozen_member_is_named_by_the_writer_and_by_nobody_else(lasting: tuple[Agent, Agent]) -> None:
    writer, reader = lasting
    name, frozen = writer.nodes.config.members[4].name, writer.nodes.processes[4]
    assert 'borealis_instance_member_unanswered_seconds{member="5"}' in await scrape(writer, bool)
    frozen.send_signal(signal.SIGSTOP)
    await writer.until(lambda status: set(status.slow) == {name})
    assert (await reader.status()).slow == {}
    assert "member_unanswered_seconds{" not in await scrape(reader, bool)
    frozen.send_signal(signal.SIGCONT)
    await writer.until(lambda status: not status.slow)


async def scrape(agent: Agent, wanted: Callable[[str], bool]) -> str:
    """Scrape until that is in it: clients are counted every few seconds."""
    async with asyncio.timeout(DEADLINE_S):
        while not wanted(text := (await agent.probe("/metrics"))[1]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return text


def test_a_status_without_the_newer_fields_is_understood() -> None:
    old = InstanceStatus.from_json('{"name":"i","role":"reader"}')
    assert (old.settings, old.refused, old.pending_restart, old.tls, old.slow) == ("", {}, (), False, {})


@lasts
async def test_a_reader_serves_on_though_replay_ends_its_agent_s_sessions(lasting: tuple[Agent, Agent]) -> None:
    writer, reader = lasting
    impatient = Settings(parameters={**GIVEN.parameters, "max_standby_streaming_delay": "0"}, digest="impatient")
    tries = 0

    async def work(connection: Session) -> None:
        nonlocal tries
        tries += 1
        await connection.execute("select pg_sleep(%s)", (60 if tries == 1 else 0,))

    assert await reader.put(names.SETTINGS, impatient.to_json()) == 200
    try:
        async with session(door_of(writer)) as updating, session(door_of(reader)) as looking:
            await updating.execute("create table public.busy as select 1 as n")
            working = asyncio.ensure_future(persist(door_of(reader), work))
            while not await rows(looking, "select from pg_stat_activity where wait_event = 'PgSleep'"):
                assert not working.done()
            for statement in ("update public.busy set n = 2", "vacuum public.busy", "drop table public.busy"):
                await updating.execute(statement.encode())
            async with asyncio.timeout(DEADLINE_S):
                await working
            for _ in range(3):
                await rows(looking, END)
                while not await rows(looking, FOLLOWS):
                    assert (await reader.status()).ready, reader.log()
        assert tries == 2
        assert "due to conflict with recovery" in reader.log()
    finally:
        assert await reader.put(names.SETTINGS, GIVEN.to_json()) == 200
    there = (await writer.status()).durable_lsn
    await reader.until(lambda status: status.ready and status.replay_lsn >= there)
    assert "borealis_instance_attachments_total 1.0" in (await reader.probe("/metrics"))[1], reader.log()


async def test_a_reader_whose_postgresql_dies_is_back_in_the_same_process_each_time(
    lasting: tuple[Agent, Agent],
) -> None:
    """More often than a kubelet restarts a container without making it wait; and nothing of the old one is left."""
    _, reader = lasting
    for _ in range(4):
        before = reader.postgres()
        os.kill(reader.postmaster(), signal.SIGKILL)
        await reader.until(lambda status: not status.ready)
        await reader.ready(Role.READER)
        assert not before & reader.postgres()
        assert len(list((reader.directory / f"data-{reader.number}").iterdir())) == 1
        assert await ask(reader, "show work_mem") == "5MB"
