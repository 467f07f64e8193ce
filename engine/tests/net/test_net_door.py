"""Who has no certificate costs nothing: slow handshakes, idle connections, no threads, no descriptors."""

import asyncio
import contextlib
import errno
import os
import resource
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from borealis_engine.contract import names
from borealis_engine.contract.status import StorageState
from borealis_engine.core.effects import Conn
from borealis_engine.core.messages import GetImage
from borealis_engine.main.storage import make_surface
from borealis_engine.net import control, door, storage
from borealis_engine.net.dial import converse
from borealis_engine.net.door import PER_ADDRESS, STRANGERS, Drop, raise_descriptor_limit
from borealis_engine.net.errors import Disconnected, RequestRefused
from borealis_engine.net.stream import Stream
from borealis_engine.net.testing import StorageNodes, make_certificates
from borealis_engine.net.testing.driver import WriterDriver
from borealis_engine.store.disk import DIRECT_FROM, RealDisk, Unopened
from borealis_engine.store.testing import FakeDisk

from .test_net_control import Pod, pod
from .test_net_healing import RARELY, inside, until
from .test_net_shell import CLUSTER, Site, site, solicit

__all__ = ["pod", "site"]  # fixtures

SLOW = 300  # strangers at each node
DEADLINE_S = 10.0


def hello() -> bytes:
    """Give the first bytes of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@asynccontextmanager
async def strangers(
    host: str, port: int, count: int, *, says: bytes, sources: int = 1, opening: asyncio.Semaphore
) -> AsyncIterator[None]:
    """Have strangers connect from `sources` addresses and say a byte a second; whoever is dropped comes back."""

    async def one(source: int, there: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(OSError):
                async with opening:
                    reader, writer = await asyncio.open_connection(host, port, local_addr=(f"127.9.9.{source}", 0))
                there.set()
                try:
                    await until_closed(reader, writer)
                finally:
                    writer.close()
            await asyncio.sleep(0.5)

    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in says:
            writer.write(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await reader.read()
                    return
        await reader.read()

    arrivals = [asyncio.Event() for _ in range(count)]
    tasks = [asyncio.create_task(one(1 + number % sources, there)) for number, there in enumerate(arrivals)]
    try:
        async with asyncio.timeout(6 * DEADLINE_S):
            await asyncio.gather(*(there.wait() for there in arrivals))
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_slow_handshakes_keep_nobody_from_being_elected(tmp_path: Path) -> None:
    """300 of them at the log port of each of the six, from one address."""
    raise_descriptor_limit()
    opening = asyncio.Semaphore(64)  # as many as a backlog takes
    async with StorageNodes(tmp_path) as nodes, AsyncExitStack() as stack:
        for number in range(6):
            slow = strangers(nodes.address(number + 1), names.LOG_PORT, SLOW, says=hello(), opening=opening)
            await stack.enter_async_context(slow)
        async with WriterDriver(nodes) as driver, asyncio.timeout(2 * DEADLINE_S):
            await driver.reign()
            await driver.append(b"x" * 1000)
        for number in range(6):
            assert (await nodes.status(number)).state is not StorageState.FAILED


@pytest.mark.parametrize("port", [names.LOG_PORT, names.CONTROL_PORT])
async def test_a_handshake_as_a_whole_has_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """Each byte comes in time, but the last one does not."""
    monkeypatch.setattr(door.Door.__init__, "__kwdefaults__", {"patience_s": 1.0})
    monkeypatch.setattr(control, "HANDSHAKE_S", 1.0)
    site = Site(make_certificates(tmp_path, cluster_uid=CLUSTER), FakeDisk())
    host = site.member.address.rpartition(":")[0]
    surface = control.Surface(
        status=dict,  # type: ignore[arg-type]
        configure=lambda config: config,
        configuration=lambda: site.node.config,
        ready=lambda: True,
    )
    serving = control.serve_control(surface, control.Changes(), site.tls(names.ROLE_STORAGE), host=host)
    async with site.serving(), serving:
        reader, writer = await asyncio.open_connection(host, port)
        loop = asyncio.get_running_loop()
        began, told = loop.time(), loop.create_task(reader.read())
        for byte in hello():
            writer.write(bytes([byte]))
            await asyncio.wait([told], timeout=0.2)
            if told.done():
                break
        assert told.done()
        assert 0.9 < loop.time() - began < 3
        writer.close()


async def test_idle_connections_leave_the_store_its_descriptors(tmp_path: Path) -> None:
    """128 descriptors in all, 60 strangers at each port of each node, and the next journal file is made."""
    raise_descriptor_limit()
    opening = asyncio.Semaphore(64)
    async with StorageNodes(tmp_path) as nodes, WriterDriver(nodes) as driver, AsyncExitStack() as stack:
        await driver.reign()
        for number, process in nodes.processes.items():
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (128, 128))
            for port in (names.PROBE_PORT, names.CONTROL_PORT, names.LOG_PORT):
                idle = strangers(nodes.address(number + 1), port, 60, says=b"", sources=60, opening=opening)
                await stack.enter_async_context(idle)
        for _ in range(66):  # MiB: a journal file has 64
            await driver.append(bytes(1 << 20))
        for number in range(6):
            await nodes.reaches(number, flush=driver.writer.end)
            assert len(list((nodes.data(number) / "journal").iterdir())) == 2


async def test_the_oldest_of_whoever_has_most_goes_for_a_newcomer(pod: Pod) -> None:
    """As many as there may be, and a peer of the cluster still gets in; so does the kubelet."""
    for port in (names.CONTROL_PORT, names.PROBE_PORT):
        strangers = []
        for number in range(STRANGERS + PER_ADDRESS):
            stranger = socket.socket()
            stranger.bind((f"127.9.9.{1 + number % 5}", 0))
            stranger.setblocking(False)
            await asyncio.get_running_loop().sock_connect(stranger, (pod.host, port))
            strangers.append(stranger)
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.get_running_loop().sock_recv(strangers[0], 1)  # closed
        with pytest.raises(BlockingIOError):
            strangers[-1].recv(1)
        if port == names.CONTROL_PORT:
            assert (await pod.call("GET", names.STATUS, names.ROLE_OPERATOR))[0] == 200
        else:
            async with aiohttp.ClientSession() as session, session.get(f"http://{pod.host}:{port}/healthz") as reply:
                assert reply.status == 200
        for stranger in strangers:
            stranger.close()


async def test_a_slow_request_to_the_probes_has_a_deadline(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PROBE_S", 0.5)
    surface = control.Surface(
        status=pod.status, configure=pod.configure, configuration=lambda: pod.config, ready=lambda: True
    )
    async with control.serve_probes(surface, host=pod.host, port=names.PROBE_PORT + 1):
        reader, writer = await asyncio.open_connection(pod.host, names.PROBE_PORT + 1)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(DEADLINE_S):
            assert b"200" not in await reader.read()
        writer.close()


async def test_a_thread_that_cannot_start_costs_one_connection_and_no_slot(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith("conn-"):
            raise RuntimeError("can't start new thread")
        start(self)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Disconnected):
            async with converse(site.endpoint(), site.member) as conversation:
                await solicit(conversation, 2)
    assert (site.shell.port._lines, site.shell.port._threads) == ({}, set())
    async with converse(site.endpoint(), site.member) as conversation:
        assert (await solicit(conversation, 2)).granted
        [line] = site.shell.port._lines.values()
        reader, line.busy = line.reader, True
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            site.shell.port.relieve(line.conn, None)
        assert (line.reader, line.busy) == (reader, True)
        line.busy = False
        assert (await solicit(conversation, 3)).granted
    assert not site.node.unfit


async def test_an_unexpected_error_costs_its_connection_and_is_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(conn: Conn, stream: Stream) -> None:
        raise ZeroDivisionError("by surprise")

    with monkeypatch.context() as patched:
        patched.setattr(site.shell, "opened", surprise)
        with pytest.raises(Disconnected):
            async with converse(site.endpoint(), site.member) as conversation:
                await solicit(conversation, 2)
    async with converse(site.endpoint(), site.member) as conversation:
        assert (await solicit(conversation, 2)).granted
    assert not site.node.unfit
    assert counted(site, Drop.FAILED) == 1


@pytest.mark.parametrize("step", ["receive", "persisted"])
async def test_a_step_of_the_node_that_fails_half_way_is_never_acted_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def surprise(*given: object) -> None:
        raise ZeroDivisionError("by surprise")

    monkeypatch.setattr(site.node, step, surprise)
    async with converse(site.endpoint(), site.member) as conversation:
        with pytest.raises(Disconnected):
            await solicit(conversation, 2)
    assert site.node.unfit == "by surprise"


async def test_want_of_memory_is_waited_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.shell.store is not None
    journal, tried = site.shell.store.journal, list[int]()
    append = journal.append

    def poor(*given: object) -> None:
        tried.append(1)
        if len(tried) < 3:
            raise MemoryError
        append(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "append", poor)
    async with converse(site.endpoint(), site.member) as conversation:
        assert (await solicit(conversation, 2)).granted
    assert (len(tried), site.node.unfit, journal.state.promised) == (3, "", 2)


@pytest.mark.parametrize(
    ("failure", "over"),
    [(ZeroDivisionError("by surprise"), True), (OSError(errno.EIO, "input/output error"), False)],
    ids=["surprise", "disk"],
)
async def test_what_a_fresh_process_might_serve_ends_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, over: bool
) -> None:
    monkeypatch.setattr(storage, "RENEWAL_S", 0.2)
    async with StorageNodes(tmp_path) as nodes, inside(nodes, 0, RARELY) as node:
        node.shell.fail(failure)
        if over:
            await until(node.renewal.is_set)
        else:
            await asyncio.sleep(4 * storage.WATCH_S + 0.2)
            assert not node.renewal.is_set()
        assert node.state is StorageState.FAILED
        assert make_surface(node).healthy() is not over  # the kubelet's liveness probe


async def test_a_disk_that_could_not_be_opened_for_want_of_descriptors_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "RENEWAL_S", 0.2)

    def refuse(*given: object) -> None:
        raise Unopened(errno.EMFILE, "too many open files")

    async with StorageNodes(tmp_path) as nodes:
        await nodes.stop(0)
        monkeypatch.setattr("borealis_engine.store.disk.RealDisk.open", refuse)
        async with inside(nodes, 0, RARELY) as node:
            assert "too many open files" in node.status().message
            await until(node.renewal.is_set)


async def test_a_storage_nodes_certificate_writes_nothing(site: Site) -> None:
    """It reads log and images of the others; who leads is between instances and members."""
    async with converse(site.endpoint(names.ROLE_STORAGE), site.member) as conversation:
        with pytest.raises(Disconnected):
            await solicit(conversation, 2)
    await until(lambda: counted(site, Drop.REJECTED) == 1)
    assert site.node.durable.promised == 0
    async with converse(site.endpoint(names.ROLE_STORAGE), site.member) as conversation:
        await conversation.send(GetImage(image="ab" * 32))
        with pytest.raises(RequestRefused, match="unknown"):
            await conversation.receive()


def counted(site: Site, reason: Drop) -> float | None:
    """Give how many connections were dropped for a reason."""
    return site.shell.meters.registry.get_sample_value(
        "borealis_storage_connections_dropped_total", {"reason": reason.value}
    )


def test_a_process_takes_all_descriptors_that_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, int]] = []
    limit: Callable[[int], tuple[int, int]] = lambda which: (256, 4096)  # noqa: E731
    monkeypatch.setattr(resource, "getrlimit", limit)
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: taken.append(limits))
    raise_descriptor_limit()
    assert taken == [(4096, 4096)]


def test_few_descriptors_are_left_from_the_reserve_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as some:
        for limit, few in ((8, True), (1 << 20, False), (resource.RLIM_INFINITY, False)):
            monkeypatch.setattr(resource, "getrlimit", lambda which, limit=limit: (limit, limit))
            assert door.scarce(some.fileno()) is few
    assert door.scarce(-1), "no copy can be had"


def test_much_at_once_is_written_without_a_descriptor_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes past the page cache needs one of its own; where none is left, it goes through."""
    disk = RealDisk(tmp_path)
    file, data, really = disk.create("file"), os.urandom(DIRECT_FROM + 100), os.open

    def refuse(path: str, *given: int) -> int:
        if str(path).startswith("/proc/self/fd/"):
            raise OSError(errno.EMFILE, "too many open files")
        return really(path, *given)

    monkeypatch.setattr(os, "open", refuse)
    file.write_through((data,), 0)
    assert file.read(len(data), 0) == data
    file.close()
