"""Connections of a storage node and their threads: one that hangs, one that never speaks, one that never reads."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from borealis_engine.contract.names import ROLE_INSTANCE
from borealis_engine.contract.volume import Epoch, Generation
from borealis_engine.core.effects import Conn
from borealis_engine.core.messages import Canvass, Consent, Promise, Reason, Refused, Solicit
from borealis_engine.net.dial import converse
from borealis_engine.net.stream import Stream
from borealis_engine.net.testing import make_certificates
from borealis_engine.store.testing import FakeDisk

from .test_net_shell import CLUSTER, Site, solicit

DEADLINE_S = 10.0


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(make_certificates(tmp_path, cluster_uid=CLUSTER), FakeDisk())
    async with site.serving():
        yield site


async def test_a_reader_that_hangs_in_the_disk_is_relieved(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.shell.store is not None
    goes_on, append = threading.Event(), site.shell.store.journal.append

    def hang(*given: object) -> None:
        goes_on.wait(DEADLINE_S)
        append(*given)  # type: ignore[arg-type]

    async with converse(site.endpoint(), site.member) as conversation:
        assert (await solicit(conversation, 2)).granted
        monkeypatch.setattr(site.shell.store.journal, "append", hang)
        await conversation.send(Solicit(epoch=Epoch(3), owner="candidate"))
        await conversation.send(Canvass(epoch=Epoch(4), owner="candidate"))
        assert isinstance(await conversation.receive(), Consent)
        goes_on.set()
        late = await conversation.receive()
        assert isinstance(late, Promise)
        assert late.granted
        await conversation.send(Canvass(epoch=Epoch(5), owner="candidate"))  # one reader is left, and in order
        assert isinstance(await conversation.receive(), Consent)
    assert not site.node.unfit


async def test_a_peer_that_never_speaks_holds_nobody_up(site: Site) -> None:
    host, _, port = site.member.address.rpartition(":")
    with socket.create_connection((host, int(port))):
        async with converse(site.endpoint(), site.member) as conversation:
            assert (await solicit(conversation, 2)).granted
        async with asyncio.timeout(DEADLINE_S / 4):  # less than a handshake may take
            await site.shell.aclose()


async def test_a_peer_that_never_reads_is_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    host, _, port = site.member.address.rpartition(":")
    loop, accepted, opened = asyncio.get_running_loop(), asyncio.Event(), site.shell.opened

    def note(conn: Conn, stream: Stream) -> None:
        opened(conn, stream)
        loop.call_soon_threadsafe(accepted.set)

    monkeypatch.setattr(site.shell, "opened", note)
    _, writer = await asyncio.open_connection(
        host, int(port), ssl=site.tls(ROLE_INSTANCE).client, server_hostname="", limit=1
    )
    async with asyncio.timeout(DEADLINE_S):
        await accepted.wait()
    [stream] = site.shell._streams.values()
    refused = Refused(reason=Reason.STALE, promised=Epoch(1), generation=Generation(1), config="", message="x" * 60_000)

    def talk() -> int:
        for said in range(10_000):
            stream.send(refused)
            if not stream.open:
                return said
        return -1

    assert await asyncio.to_thread(talk) > 0
    assert stream.reason == "the peer does not read"
    writer.transport.abort()
