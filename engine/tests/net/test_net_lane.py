"""The short way of appends in the native library: what a node says, keeps and finds again is what Python would."""

import asyncio
import os
import random
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from borealis_engine import native
from borealis_engine.contract.names import ROLE_STORAGE
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.effects import Conn
from borealis_engine.core.journal import DurableState
from borealis_engine.core.messages import (
    Ack,
    Append,
    Begin,
    Begun,
    Canvass,
    Consent,
    Feed,
    LogData,
    Read,
    Reason,
    Reign,
    RoomLeft,
    Subscribe,
)
from borealis_engine.core.steady import Steady
from borealis_engine.net.dial import ANSWER_S, Conversation, converse
from borealis_engine.net.errors import RequestRefused
from borealis_engine.net.lane import Lane
from borealis_engine.net.lending import Lending
from borealis_engine.net.meters import SYNC_SECONDS
from borealis_engine.net.requests import put_image
from borealis_engine.net.testing import make_certificates
from borealis_engine.net.testing.driver import WAL_END, WAL_START, make_image
from borealis_engine.net.wire_stream import WireStream
from borealis_engine.store import journal
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.inspection import inspect_disk
from borealis_engine.store.journal import Sizes
from borealis_engine.store.member import open_store
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from .test_net_shell import CLUSTER, MEMBER, Site, solicit

SMALL = Sizes(file=256 * 1024, ahead=64 * 1024, step=32 * 1024)
EPOCH = Epoch(2)


@pytest.fixture(params=["library", "python"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A node on a real disk, whose journal's files are short; with and without what the library does of it."""
    if request.param == "python":
        monkeypatch.setattr(Lending, "terms", lambda self, terms: False)
    elif native.library() is None:
        pytest.skip("the native library is not built here")
    # Names of journal files are drawn by chance; one with a zero in it once ended there.
    monkeypatch.setattr(journal.secrets, "token_bytes", lambda size: b"\0" + os.urandom(size - 1))
    certificates = make_certificates(tmp_path / "tls", cluster_uid=CLUSTER)
    (tmp_path / "data").mkdir()
    site = Site(certificates, RealDisk(tmp_path / "data"), sizes=SMALL)
    async with site.serving():
        yield site


class Owner:
    """The owner of epoch 2, on one connection to the node."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.end = WAL_END
        self.written = b""
        self.beat = 0
        self.acked = Lsn(0)

    @classmethod
    async def elected(cls, site: Site, stack: AsyncExitStack) -> "Owner":
        image, blob = make_image()

        async def pieces() -> AsyncIterator[bytes]:
            yield blob

        await put_image(site.endpoint(), site.member, image=image, size=len(blob), pieces=pieces())
        conversation = await stack.enter_async_context(converse(site.endpoint(), site.member))
        assert (await solicit(conversation, EPOCH)).granted
        history = (Reign(epoch=Epoch(1), start=WAL_START, image=image), Reign(epoch=EPOCH, start=WAL_END))
        await conversation.send(Begin(epoch=EPOCH, history=history, donor=""))
        assert await conversation.receive() == Begun(epoch=EPOCH, flush=WAL_END)
        return cls(conversation)

    async def append(self, data: bytes) -> None:
        """D is all that was sent before: four others were quicker."""
        self.beat += 1
        append = Append(epoch=EPOCH, stream=1, lsn=self.end, durable=self.end, data=data, beat=self.beat)
        self.end, self.written = Lsn(self.end + len(data)), self.written + data
        await self.conversation.send(append)

    async def heard(self, within_s: float = ANSWER_S) -> object:
        """Receive the next message that is not of the room that the node has left."""
        while isinstance(message := await self.conversation.receive(within_s), RoomLeft):
            pass
        return message

    async def settled(self) -> None:
        """Take acks until one covers all: each only says more than the one before."""
        while self.acked < self.end:
            ack = await self.heard()
            assert isinstance(ack, Ack)
            assert ack.epoch == EPOCH
            assert self.acked < ack.flush <= self.end
            assert ack.beat <= self.beat
            self.acked = ack.flush


async def read_back(site: Site, start: Lsn, upto: Lsn) -> bytes:
    data = b""
    async with converse(site.endpoint(ROLE_STORAGE), site.member) as reader:
        await reader.send(Read(epoch=EPOCH, start=start, upto=upto))
        while len(data) < upto - start:
            piece = await reader.receive()
            assert isinstance(piece, LogData)
            data += piece.data
    return data


async def test_what_was_acked_is_read_back_and_found_again(site: Site, tmp_path: Path) -> None:
    dice = random.Random(1)
    async with AsyncExitStack() as stack:
        owner = await Owner.elected(site, stack)
        rival = await stack.enter_async_context(converse(site.endpoint(), site.member))
        for turn in range(400):
            for _ in range(dice.choice((1, 1, 1, 3, 20))):
                await owner.append(dice.randbytes(dice.choice((1, 60, 500, 4064, 4096, 9000))))
            if turn % 7 == 0:  # somebody else has a word in the midst of it
                await rival.send(Canvass(epoch=Epoch(9), owner="rival"))
                consent = await rival.receive()
                assert isinstance(consent, Consent)
                assert not consent.granted
            if dice.random() < 0.5:
                await owner.settled()
        await owner.settled()
        assert await read_back(site, WAL_END, owner.end) == owner.written
    await site.shell.aclose()
    found = open_store(RealDisk(tmp_path / "data"), member=MEMBER, cluster_uid=CLUSTER, allow_format=False, sizes=SMALL)
    assert (found.journal.state.promised, found.journal.state.flush) == (EPOCH, owner.end)
    assert len(found.journal.files) > 3
    data, at = b"", WAL_END
    while at < owner.end:
        piece = found.journal.read(at, owner.end)
        data, at = data + piece, Lsn(at + len(piece))
    assert data == owner.written
    found.journal.close()
    assert not inspect_disk(RealDisk(tmp_path / "data"), digests=True).damaged


async def test_the_library_takes_what_it_may(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = list[int]()
    advance = Steady.advance

    def count(self: Steady, size: int, durable: Lsn, beat: int, heard: float) -> DurableState:
        taken.append(size)
        return advance(self, size, durable, beat, heard)

    monkeypatch.setattr(Steady, "advance", count)
    async with AsyncExitStack() as stack:
        owner = await Owner.elected(site, stack)
        for _ in range(100):
            await owner.append(b"x" * 100)
            await owner.settled()
        with site.shell.lock:
            pass
    lent = site.shell.lending is not None and Lending.terms.__name__ == "terms"
    assert sum(taken) >= 90 * 100 if lent else not taken


async def test_a_promise_in_the_midst_of_appends_ends_them(site: Site) -> None:
    """What was acked is in the position that the promise tells; nothing of the old epoch is acked after it."""
    async with AsyncExitStack() as stack:
        owner = await Owner.elected(site, stack)
        for _ in range(50):
            await owner.append(b"y" * 300)
        rival = await stack.enter_async_context(converse(site.endpoint(), site.member))
        deadline = time.monotonic() + 20
        granted = await solicit(rival, 3)
        while not granted.granted:  # the lease
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
            granted = await solicit(rival, 3)
        held = granted.position.flush
        await owner.append(b"z")
        reason = None
        while reason is None:
            try:
                ack = await owner.heard()
            except RequestRefused as error:
                reason = error.refused.reason
            else:
                assert isinstance(ack, Ack)
                assert ack.flush <= held
        assert reason is Reason.EPOCH
        assert site.node.durable.flush == held


async def test_a_feed_hears_of_each_advance(site: Site) -> None:
    async with AsyncExitStack() as stack:
        owner = await Owner.elected(site, stack)
        await owner.append(b"a" * 10)
        await owner.settled()
        reader = await stack.enter_async_context(converse(site.endpoint(), site.member))
        await reader.send(Subscribe(start=WAL_END))
        got = b""
        for number in range(30):
            await owner.append(bytes([number]) * 50)  # D rides: it covers what was acked before
            await owner.settled()
            while len(got) < len(owner.written) - 50:
                feed = await reader.receive()
                assert isinstance(feed, Feed)
                assert feed.lsn + len(feed.data) <= owner.acked
                got += feed.data
        assert owner.written.startswith(got)


async def test_nothing_is_lent_while_it_is_withheld(site: Site) -> None:
    if site.shell.lending is None:
        pytest.skip("without the library")
    async with AsyncExitStack() as stack:
        owner = await Owner.elected(site, stack)
        await owner.append(b"1")
        await owner.settled()
        loop = asyncio.get_running_loop()
        held = site.shell.lending.withheld()
        await loop.run_in_executor(None, held.__enter__)
        try:
            assert not site.shell.lending.terms(native.Terms())
            await owner.append(b"2")
            await owner.settled()
        finally:
            await loop.run_in_executor(None, held.__exit__, None, None, None)
        await owner.append(b"3")
        await owner.settled()


async def test_a_reader_that_hangs_in_the_disk_is_relieved_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look finds it still hanging: two readers of one connection would tear its frames apart."""
    lending = site.shell.lending
    if lending is None:
        pytest.skip("without the library")
    asked = list[tuple[Conn, int | None]]()
    monkeypatch.setattr(site.shell.port, "relieve", lambda conn, hanging: asked.append((conn, hanging)))
    monkeypatch.setattr(Lane, "syncing", property(lambda self: time.monotonic() - 1.0))
    monkeypatch.setattr(lending, "_handed", SimpleNamespace(conn=Conn(7)))
    for _ in range(3):
        lending.look()
    assert asked == [(7, None)]


async def test_the_time_of_a_write_that_was_taken_over_counts(site: Site) -> None:
    """Slow ones are taken over, so it is those that the histogram is for."""
    lending, store = site.shell.lending, site.shell.store
    if lending is None or store is None:
        pytest.skip("without the library")
    async with AsyncExitStack() as stack:
        owner = await Owner.elected(site, stack)
        await owner.append(b"a")
        await owner.settled()
        with site.shell.lock:
            holder, frontier = site.node.steady.holder, store.journal.frontier()
            assert holder is not None
            assert frontier is not None
            deeds = native.Deeds(handed=1, handed_size=10, handed_beat=9, handed_since=time.monotonic() - 0.3)
            deeds.handed_conn, deeds.handed_epoch, deeds.handed_stream = holder
            deeds.handed_lsn, deeds.handed_durable = site.node.durable.flush, site.node.steady.durable
            deeds.handed_offset, deeds.handed_end = frontier.end, frontier.end + 42
            deeds.handed_batch, deeds.handed_heard = frontier.batch + 1, site.clock.now()
            lending.settle(deeds)
        syncs, slow = site.shell.meters._syncs, bisect_left(SYNC_SECONDS, 0.5)
        before = syncs[slow]
        lending.finish(holder[0], cast(WireStream, SimpleNamespace(error=0, send=lambda message: None)))
        assert syncs[slow] == before + 1


def test_a_failed_write_is_not_forgotten_when_another_thread_reads_on() -> None:
    answers = iter([(native.HANDED, 5), (native.BYTES, 0)])
    stream = WireStream.__new__(WireStream)
    stream.between_frames, stream.error = True, 0
    lane = SimpleNamespace(serve=lambda *_, **__: next(answers))
    stream._lane, stream._wire, stream._conn = lane, None, Conn(1)  # type: ignore[assignment]
    assert [stream._wait(), stream._wait()] == [native.HANDED, native.BYTES]
    assert stream.error == 5


@given(data=st.binary(max_size=300), crc=st.integers(min_value=0, max_value=2**32 - 1))
def test_the_checksum_is_the_same(data: bytes, crc: int) -> None:
    library = native.library()
    if library is None:
        pytest.skip("the native library is not built here")
    assert library.borealis_crc32c(data, len(data), crc) == crc32c(data, crc)


async def test_a_damaged_frame_is_no_append(site: Site) -> None:
    """A changed bit ends the connection, and what came before it stays."""
    async with AsyncExitStack() as stack:
        owner = await Owner.elected(site, stack)
        await owner.append(b"good")
        await owner.settled()
        channel = owner.conversation._channel
        assert channel is not None
        assert channel.transport is not None
        transport = channel.transport
        spoilt: list[bytes] = []

        def keep(buffers: list[bytes]) -> None:
            spoilt.append(b"".join(buffers))

        write, transport.writelines = transport.writelines, keep  # type: ignore[method-assign,assignment]
        transport.write = lambda data: keep([bytes(data)])  # type: ignore[method-assign]
        await owner.append(b"spoilt")
        frame = bytearray(spoilt[0])
        frame[-1] ^= 1
        write([bytes(frame)])
        with pytest.raises(Exception, match=r"closed|silent|reset"):
            await owner.heard(5)
        with site.shell.lock:
            assert site.node.durable.flush == owner.acked
