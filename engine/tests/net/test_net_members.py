"""Standing connections: reported in order, made anew when lost, and following the configuration's addresses."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from borealis_engine.contract.names import ROLE_INSTANCE
from borealis_engine.contract.volume import Epoch, Joining, Member, MemberId, VolumeConfig
from borealis_engine.core.messages import Canvass, Consent, Envelope
from borealis_engine.net.channel import Channel
from borealis_engine.net.members import Members
from borealis_engine.net.testing import make_certificates
from borealis_engine.store.testing import FakeDisk

from .test_net_shell import CLUSTER, MEMBER, Site

DEADLINE_S = 10.0


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.messages: asyncio.Queue[Envelope] = asyncio.Queue()
        self.config: VolumeConfig | None = None

    def connected(self, member: MemberId) -> None:
        if member == MEMBER:
            self.events.put_nowait("connected")

    def disconnected(self, member: MemberId) -> None:
        if member == MEMBER:
            self.events.put_nowait("disconnected")

    def received(self, member: MemberId, envelope: Envelope) -> None:
        self.messages.put_nowait(envelope)

    def configured(self, config: VolumeConfig) -> None:
        self.config = config

    async def event(self) -> str:
        return await asyncio.wait_for(self.events.get(), DEADLINE_S)

    async def message(self) -> Envelope:
        return await asyncio.wait_for(self.messages.get(), DEADLINE_S)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(make_certificates(tmp_path, cluster_uid=CLUSTER), FakeDisk())
    async with site.serving():
        yield site


@pytest.fixture
async def heard() -> Heard:
    return Heard()


@pytest.fixture
async def members(site: Site, heard: Heard) -> AsyncIterator[Members]:
    members = Members(tls=site.tls(ROLE_INSTANCE), identity="candidate", config=site.config, listener=heard)
    members.start()
    yield members
    await members.aclose()


async def test_messages_go_there_and_back(members: Members, heard: Heard) -> None:
    assert not members.send(MEMBER, Canvass(epoch=Epoch(2), owner="candidate"))
    assert await heard.event() == "connected"
    assert members.connected == {MEMBER}
    assert members.send(MEMBER, Canvass(epoch=Epoch(2), owner="candidate"))
    envelope = await heard.message()
    assert isinstance(envelope.message, Consent)
    assert envelope.sender == MEMBER


async def test_a_lost_connection_is_reported_and_made_anew(members: Members, heard: Heard) -> None:
    assert await heard.event() == "connected"
    members.disconnect(MEMBER, "for the test")
    assert [await heard.event(), await heard.event()] == ["disconnected", "connected"]


async def test_a_moved_member_is_followed(site: Site, members: Members, heard: Heard) -> None:
    assert await heard.event() == "connected"
    host, _, port = site.member.address.rpartition(":")
    moved = replace(site.member, address=f"{host.rpartition('.')[0]}.251:{port}")
    config = replace(site.config, revision=2, members=(moved, *site.config.members[1:]))
    site.member = moved
    site.shell.port.listen(moved.address.rpartition(":")[0], int(port))
    assert members.configure(config) == config
    assert [await heard.event(), await heard.event()] == ["disconnected", "connected"]
    assert members.configure(site.config) == config


async def test_a_connection_that_comes_too_late_does_not_replace_the_newer_one(
    site: Site, members: Members, heard: Heard
) -> None:
    assert await heard.event() == "connected"
    line = members._lines[MEMBER]
    line.end()
    assert await heard.event() == "disconnected"
    late = Channel(site.endpoint(), line, roles=(), peer=MEMBER)
    line.opened(late, "storage")
    assert late.reason
    assert line.channel is None
    assert heard.events.empty()


async def test_a_newer_configuration_comes_with_the_refusal(site: Site, members: Members, heard: Heard) -> None:
    assert await heard.event() == "connected"
    joining = Joining(member=Member(id=MemberId("f" * 16), name="n6", zone="a"), replaces=site.config.members[5].id)
    newer = replace(site.config, generation=site.config.generation + 1, joining=joining)
    site.shell.configure(newer)
    members.send(MEMBER, Canvass(epoch=Epoch(2), owner="candidate"))
    await heard.message()
    assert (heard.config, members.config) == (newer, newer)
    members.send(MEMBER, Canvass(epoch=Epoch(2), owner="candidate"))
    assert isinstance((await heard.message()).message, Consent)
