"""mTLS, the control server and the probe server: who may do what, and when a stream speaks."""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest
from borealis_engine.contract import names
from borealis_engine.contract.status import StorageState, StorageStatus
from borealis_engine.contract.volume import Generation, Member, MemberId, VolumeConfig
from borealis_engine.net.control import Changes, Reply, Surface, serve_control, serve_probes
from borealis_engine.net.door import Drop
from borealis_engine.net.errors import PeerRejected, TlsInvalid
from borealis_engine.net.testing import make_certificates
from borealis_engine.net.testing.authority import SERVER
from borealis_engine.net.tls import load_tls

CLUSTER = "uid-1"
SIX = tuple(Member(id=MemberId(f"m{n}"), name=f"n{n}", zone="a") for n in range(6))
DEADLINE_S = 10.0


@dataclass(slots=True)
class Pod:
    """A pod with a control and a probe server, and who may call it."""

    host: str
    folders: dict[str, Path]
    foreign: Path
    config: VolumeConfig
    ready: bool = False
    message: str = ""
    commanded: list[bytes] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)

    def status(self) -> StorageStatus:
        return StorageStatus(name="pod", member="m", state=StorageState.EMPTY, message=self.message)

    def configure(self, config: VolumeConfig) -> VolumeConfig:
        if config.version > self.config.version:
            self.config = config
        return self.config

    async def command(self, body: bytes) -> Reply:
        self.commanded.append(body)
        return Reply(body={"accepted": True})

    async def call(self, method: str, path: str, role: str, *, uid: str = CLUSTER, body: str = "") -> tuple[int, str]:
        folder = self.foreign / role if uid != CLUSTER else self.folders[role]
        url = f"https://{self.host}:{names.CONTROL_PORT}{path}"
        context = load_tls(folder, cluster_uid=uid).client
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, ssl=context, data=body) as reply,
        ):
            return reply.status, await reply.text()


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    folders = make_certificates(tmp_path / "own", cluster_uid=CLUSTER)
    make_certificates(tmp_path / "foreign", cluster_uid="uid-2")
    config = VolumeConfig(cluster_uid=CLUSTER, generation=Generation(1), revision=1, sealed=True, members=SIX)
    host = f"127.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}.9"
    pod = Pod(host=host, folders=folders, foreign=tmp_path / "foreign", config=config)
    surface = Surface(
        status=pod.status,
        configure=pod.configure,
        configuration=lambda: pod.config,
        ready=lambda: pod.ready,
        commands={("POST", names.PROMOTE): pod.command},
        dropped=pod.drops.append,
    )
    tls = load_tls(folders[names.ROLE_STORAGE], cluster_uid=CLUSTER)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve_control(surface, pod.changes, tls, host=host))
        await stack.enter_async_context(serve_probes(surface, host=host))
        yield pod


@pytest.mark.parametrize("role", [names.ROLE_STORAGE, names.ROLE_INSTANCE, names.ROLE_OPERATOR])
async def test_any_role_of_the_cluster_reads_the_status(pod: Pod, role: str) -> None:
    status, text = await pod.call("GET", names.STATUS, role)
    assert (status, StorageStatus.from_json(text)) == (200, pod.status())


@pytest.mark.parametrize(("method", "path"), [("POST", names.PROMOTE), ("PUT", names.VOLUME)])
@pytest.mark.parametrize("role", [names.ROLE_STORAGE, names.ROLE_INSTANCE])
async def test_only_the_operator_commands(pod: Pod, method: str, path: str, role: str) -> None:
    status, _ = await pod.call(method, path, role, body="{}")
    assert (status, pod.commanded) == (403, [])


async def test_a_command_gets_the_body_and_gives_its_reply(pod: Pod) -> None:
    status, text = await pod.call("POST", names.PROMOTE, names.ROLE_OPERATOR, body='{"a":1}')
    assert (status, json.loads(text), pod.commanded) == (202, {"accepted": True}, [b'{"a":1}'])


@pytest.mark.parametrize(("method", "path"), [("GET", names.STATUS), ("POST", names.PROMOTE), ("PUT", names.VOLUME)])
async def test_the_certificate_for_postgresql_s_clients_opens_nothing(pod: Pod, method: str, path: str) -> None:
    """It is of the cluster's CA, and whoever reads the Secret of the server has it; but it bears no role."""
    status, text = await pod.call(method, path, SERVER, body="{}")
    assert (status, pod.commanded) == (403, [])
    assert "no role" in text


async def test_another_cluster_is_nobody(pod: Pod) -> None:
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await pod.call("GET", names.STATUS, names.ROLE_OPERATOR, uid="uid-2")


async def test_a_peer_is_its_cluster_and_its_role(pod: Pod) -> None:
    tls = load_tls(pod.folders[names.ROLE_OPERATOR], cluster_uid=CLUSTER)
    _, writer = await asyncio.open_connection(pod.host, names.CONTROL_PORT, ssl=tls.client, server_hostname="")
    peer = writer.get_extra_info("ssl_object")
    assert tls.require(peer, names.ROLE_STORAGE, names.ROLE_INSTANCE) == names.ROLE_STORAGE
    with pytest.raises(PeerRejected, match="may not speak"):
        tls.require(peer, names.ROLE_OPERATOR)
    with pytest.raises(PeerRejected, match="not one of this cluster"):
        replace(tls, cluster_uid="uid-2").require(peer, names.ROLE_STORAGE)
    writer.close()


async def test_missing_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(TlsInvalid, match=r"ca.crt is missing"):
        load_tls(tmp_path, cluster_uid=CLUSTER)


async def test_without_a_certificate_nothing_is_answered(pod: Pod) -> None:
    url = f"https://{pod.host}:{names.CONTROL_PORT}{names.STATUS}"
    async with aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await session.get(url, ssl=False)


async def test_what_is_no_request_is_counted_and_leaves_no_byte_in_the_log(
    pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    before = len(pod.drops)
    for nonsense in (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / secret\r\n\r\n", b"secret" * 10_000):
        for _ in range(3):
            async with asyncio.timeout(DEADLINE_S):
                reader, writer = await asyncio.open_connection(pod.host, names.PROBE_PORT)
                writer.write(nonsense + b"\r\n\r\n")
                with suppress(ConnectionError):  # it may be closed while more is on its way
                    await reader.read()
                writer.close()
    assert pod.drops[before:] == [Drop.REJECTED] * 6
    (line,) = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert (line.exc_info, "what came is no request" in line.message) == (None, True)
    assert "secret" not in caplog.text


async def test_the_higher_configuration_is_kept(pod: Pod) -> None:
    newer = replace(pod.config, revision=3)
    assert (await pod.call("PUT", names.VOLUME, names.ROLE_OPERATOR, body=newer.to_json()))[0] == 200
    older = replace(pod.config, revision=2)
    status, text = await pod.call("PUT", names.VOLUME, names.ROLE_OPERATOR, body=older.to_json())
    assert (status, VolumeConfig.from_json(text)) == (409, newer)
    assert (await pod.call("PUT", names.VOLUME, names.ROLE_OPERATOR, body="[]"))[0] == 400
    five = replace(newer, revision=9, members=SIX[:5])
    status, text = await pod.call("PUT", names.VOLUME, names.ROLE_OPERATOR, body=five.to_json())
    assert (status, "members has 5 entries" in text) == (400, True)


async def test_the_operator_can_read_the_configuration_in_force(pod: Pod) -> None:
    status, text = await pod.call("GET", names.VOLUME, names.ROLE_OPERATOR)
    assert (status, text) == (200, pod.config.to_json())
    assert (await pod.call("GET", names.VOLUME, names.ROLE_INSTANCE))[0] == 403


async def test_events_come_at_once_on_change_and_at_least_each_heartbeat(pod: Pod) -> None:
    url, loop = f"https://{pod.host}:{names.CONTROL_PORT}{names.EVENTS}", asyncio.get_running_loop()
    context = load_tls(pod.folders[names.ROLE_OPERATOR], cluster_uid=CLUSTER).client
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as reply:
        await asyncio.wait_for(reply.content.readline(), DEADLINE_S)
        began = loop.time()
        await asyncio.wait_for(reply.content.readline(), DEADLINE_S)
        assert loop.time() - began < 3 * names.EVENTS_HEARTBEAT_S
        for message in ("one", "two"):
            pod.message = message
            pod.changes.changed()
            line = await asyncio.wait_for(reply.content.readline(), DEADLINE_S)
            assert StorageStatus.from_json(line).message == message


async def test_probes_say_what_is_asked_and_nothing_else(pod: Pod) -> None:
    base = f"http://{pod.host}:{names.PROBE_PORT}"

    async def get(path: str) -> int:
        async with aiohttp.ClientSession() as session, session.get(base + path) as reply:
            return reply.status

    assert [await get("/healthz"), await get("/readyz"), await get("/metrics")] == [200, 503, 200]
    pod.ready = True
    assert [await get("/readyz"), await get(names.STATUS)] == [200, 404]
