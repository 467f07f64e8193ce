"""One storage node in this process, on a disk that fails, behind real connections."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from borealis_engine.contract.names import ROLE_INSTANCE, ROLE_OPERATOR, ROLE_STORAGE
from borealis_engine.contract.volume import Epoch, Generation, Lsn, Member, MemberId, VolumeConfig
from borealis_engine.core.journal import Promised
from borealis_engine.core.messages import Begin, Begun, Feed, Promise, Read, Reason, Reign, Solicit, Subscribe
from borealis_engine.core.node import Node
from borealis_engine.net.background import Pace
from borealis_engine.net.channel import Endpoint
from borealis_engine.net.clock import StallFreeClock
from borealis_engine.net.dial import Conversation, converse
from borealis_engine.net.errors import Disconnected, NetError, RequestRefused
from borealis_engine.net.healing import Healing
from borealis_engine.net.meters import Meters
from borealis_engine.net.requests import get_image, put_image
from borealis_engine.net.shell import Shell
from borealis_engine.net.testing import make_certificates
from borealis_engine.net.testing.driver import WAL_END, WAL_START, make_image
from borealis_engine.net.tls import Tls, load_tls
from borealis_engine.store.errors import DiskCorrupt, DiskFailed
from borealis_engine.store.journal import Sizes
from borealis_engine.store.journal_file import file_name
from borealis_engine.store.member import open_store
from borealis_engine.store.recovery import DEFAULT_SIZES
from borealis_engine.store.testing import FakeDisk

CLUSTER = "uid-1"
MEMBER = MemberId("00112233aabbccdd")


class Site:
    """A node behind its port."""

    def __init__(self, folders: dict[str, Path], disk: Any, *, sizes: Sizes = DEFAULT_SIZES) -> None:
        self.disk = disk
        self.folders = folders
        host = f"127.{100 + secrets.randbelow(90)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(250)}"
        self.member = Member(id=MEMBER, name="node", zone="a", address=f"{host}:7400")
        others = tuple(Member(id=MemberId(f"{n:016d}"), name=f"n{n}", zone="b") for n in range(5))
        self.config = VolumeConfig(
            cluster_uid=CLUSTER,
            generation=Generation(1),
            revision=1,
            sealed=True,
            members=(self.member, *others),
        )
        store = open_store(disk, member=MEMBER, cluster_uid=CLUSTER, allow_format=True, sizes=sizes)
        self.clock = StallFreeClock()
        self.node = Node(
            member=MEMBER,
            config=self.config,
            durable=store.journal.state,
            images=store.images.extents,
            lease=1.0,
            now=self.clock.now(),
        )
        self.shell = Shell(node=self.node, store=store, tls=self.tls(ROLE_STORAGE), clock=self.clock, meters=Meters())

    def tls(self, role: str) -> Tls:
        return load_tls(self.folders[role], cluster_uid=CLUSTER)

    def endpoint(self, role: str = ROLE_INSTANCE, generation: int = 1) -> Endpoint:
        return Endpoint(tls=self.tls(role), identity="candidate", generation=lambda: generation)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        host, _, port = self.member.address.rpartition(":")
        self.shell.start()
        self.shell.port.listen(host, int(port))
        try:
            yield
        finally:
            await self.shell.aclose()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(make_certificates(tmp_path, cluster_uid=CLUSTER), FakeDisk())
    async with site.serving():
        yield site


async def solicit(conversation: Conversation, epoch: int) -> Promise:
    await conversation.send(Solicit(epoch=Epoch(epoch), owner="candidate"))
    promise = await conversation.receive()
    assert isinstance(promise, Promise)
    return promise


async def exhaust(conversation: Conversation) -> None:
    """Receive to the end, which is an error; TimeoutError if none comes."""
    async with asyncio.timeout(10):
        while True:
            await conversation.receive()


async def test_a_promise_is_on_the_disk_before_it_is_answered(site: Site) -> None:
    async with converse(site.endpoint(), site.member) as conversation:
        assert (await solicit(conversation, 2)).granted
    reopened = open_store(site.disk, member=MEMBER, cluster_uid=CLUSTER, allow_format=False)
    assert (reopened.journal.state.promised, reopened.journal.state.owner) == (2, "candidate")


@pytest.mark.parametrize("fault", ["fail_syncs", "fail_writes"])
async def test_a_failed_disk_answers_nothing_but_refusals(site: Site, fault: str) -> None:
    async with converse(site.endpoint(), site.member) as conversation:
        setattr(site.disk, fault, True)
        await conversation.send(Solicit(epoch=Epoch(2), owner="candidate"))
        with pytest.raises(Disconnected, match="silent"):
            await conversation.receive(0.3)
        setattr(site.disk, fault, False)
        with pytest.raises(RequestRefused) as refused:
            await solicit(conversation, 3)
        assert refused.value.refused.reason is Reason.UNFIT
        assert "input/output error" in site.node.unfit


async def test_a_full_disk_is_named(site: Site) -> None:
    site.disk.capacity = site.disk.used()
    async with converse(site.endpoint(), site.member) as conversation:
        await conversation.send(Solicit(epoch=Epoch(2), owner="candidate"))
        with pytest.raises(Disconnected):
            await conversation.receive(0.3)
    assert "disk full" in site.node.unfit


async def test_another_generation_or_member_is_refused_with_the_configuration(site: Site) -> None:
    wrong = replace(site.member, id=MemberId("ffffffffffffffff"))
    for endpoint, member in ((site.endpoint(generation=2), site.member), (site.endpoint(), wrong)):
        async with converse(endpoint, member) as conversation:
            with pytest.raises(RequestRefused) as refused:
                await solicit(conversation, 2)
            assert refused.value.refused.reason is Reason.CONFIG
            assert VolumeConfig.from_json(refused.value.refused.config) == site.config
    assert site.node.durable.promised == 0


async def test_the_operator_may_not_speak_the_log_protocol(site: Site) -> None:
    with pytest.raises(NetError):
        async with converse(site.endpoint(ROLE_OPERATOR), site.member) as conversation:
            await solicit(conversation, 2)
    assert site.node.durable.promised == 0


async def test_a_higher_configuration_outlives_a_restart(site: Site) -> None:
    newer = replace(site.config, revision=9)
    assert site.shell.configure(newer) == newer
    assert site.shell.configure(site.config) == newer
    assert site.shell.configure(replace(newer, revision=10, cluster_uid="other")) == newer
    reopened = open_store(site.disk, member=MEMBER, cluster_uid=CLUSTER, allow_format=False)
    assert VolumeConfig.from_json(reopened.recall_volume()) == newer


async def test_an_image_is_uploaded_begun_with_and_fetched(site: Site) -> None:
    image, blob = make_image()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(blob), 100_000):
            yield blob[at : at + 100_000]

    await put_image(site.endpoint(), site.member, image=image, size=len(blob), pieces=pieces())
    fetched = b"".join([piece.data async for piece in get_image(site.endpoint(), site.member, image)])
    assert fetched == blob
    history = (
        Reign(epoch=Epoch(1), start=WAL_START, image=image),
        Reign(epoch=Epoch(2), start=WAL_END),
    )
    async with converse(site.endpoint(), site.member) as conversation:
        await solicit(conversation, 2)
        await conversation.send(Begin(epoch=Epoch(2), history=history, donor=""))
        assert await conversation.receive() == Begun(epoch=Epoch(2), flush=WAL_END)
        await conversation.send(Read(epoch=Epoch(2), start=WAL_START, upto=Lsn(WAL_START + 5)))
        assert (await conversation.receive()).data == bytes(5)  # type: ignore[union-attr]


async def test_a_feed_ends_when_the_disk_fails(site: Site) -> None:
    async with converse(site.endpoint(), site.member) as feed, converse(site.endpoint(), site.member) as writer:
        await feed.send(Subscribe(start=Lsn(0)))
        assert isinstance(await feed.receive(), Feed)
        site.disk.fail_syncs = True
        await writer.send(Solicit(epoch=Epoch(2), owner="candidate"))
        with pytest.raises(Disconnected, match="closed"):
            await exhaust(feed)


async def test_a_wrong_upload_is_refused(site: Site) -> None:
    image, blob = make_image()

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(len(blob))

    with pytest.raises(RequestRefused, match="not image"):
        await put_image(site.endpoint(), site.member, image=image, size=len(blob), pieces=pieces())
    assert site.disk.list("images") == []


async def test_rubbish_ends_the_connection_and_nothing_else(site: Site) -> None:
    host, _, port = site.member.address.rpartition(":")
    reader, writer = await asyncio.open_connection(
        host, int(port), ssl=site.tls(ROLE_INSTANCE).client, server_hostname=""
    )
    writer.write(b"rubbish" * 100)
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    async with converse(site.endpoint(), site.member) as conversation:
        assert (await solicit(conversation, 2)).granted


async def test_an_error_that_mending_hears_of_is_told_to_who_appends_too(site: Site) -> None:
    """Bytes that the device did not take are told once to each who syncs: mending must not hear it for the append."""
    store, name = site.shell.store, file_name(1)
    assert store is not None
    healing = Healing(site.shell, store, pace=Pace(rest_s=3600, retry_s=0.1))
    healing.start()
    try:
        async with asyncio.timeout(10):
            while not healing.scrubbed_at:  # noqa: ASYNC110 - a thread makes it so
                await asyncio.sleep(0.01)
            site.disk.damage(name, 5)  # in the header, which is mended without a peer
            site.disk.before_sync = lambda: site.disk.fail_writeback(name)
            healing.suspect(1, DiskCorrupt("a damaged header"))
            while not site.node.unfit:  # noqa: ASYNC110 - a thread makes it so
                await asyncio.sleep(0.01)
        with pytest.raises(DiskFailed, match="input/output"):
            store.journal.append([Promised(epoch=Epoch(9), owner="a")])
    finally:
        await asyncio.to_thread(healing.stop)
