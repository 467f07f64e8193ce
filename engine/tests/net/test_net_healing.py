"""Real storage nodes whose disks rot, fill up and fail: they heal by themselves, and nothing acknowledged is lost."""

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from borealis_engine import native
from borealis_engine.contract.names import ROLE_STORAGE
from borealis_engine.contract.status import NO_ROOM, StorageState
from borealis_engine.core.effects import Elected
from borealis_engine.main.storage import AGAIN
from borealis_engine.net.background import Pace
from borealis_engine.net.control import Changes
from borealis_engine.net.errors import Disconnected
from borealis_engine.net.lending import Lending
from borealis_engine.net.storage import StorageNode, StorageSettings
from borealis_engine.net.testing import StorageNodes, WriterDriver
from borealis_engine.net.testing.driver import DEADLINE_S
from borealis_engine.store.disk import ReadOnlyDisk
from borealis_engine.store.frames import FILE_HEADER, parse_header, scan
from borealis_engine.store.inspection import inspect_disk
from borealis_engine.store.journal_file import JournalFile
from borealis_engine.store.records import LOGGED

from .test_net_volume import log_of, written

pytestmark = pytest.mark.slow  # six nodes for each test

LEASE_S = 3.0  # a busy machine does not end a reign that the test needs

RARELY = Pace(rest_s=3600, retry_s=0.1)
OFTEN = Pace(rate=1 << 30, rest_s=0.05, retry_s=0.1, share=0.9)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[StorageNodes]:
    async with StorageNodes(tmp_path, lease_s=LEASE_S) as running:
        yield running


@asynccontextmanager
async def inside(nodes: StorageNodes, number: int, pace: Pace) -> AsyncIterator[StorageNode]:
    """Run a member in this process in the place of its own."""
    await nodes.kill(number)
    member = nodes.config.members[number]
    settings = StorageSettings(
        name=member.name,
        member=member.id,
        config=nodes.config,
        data=nodes.data(number),
        allow_format=False,
        lease_s=LEASE_S,
        host=nodes.address(number + 1),
        pace=pace,
    )
    node = StorageNode(settings, nodes.tls(ROLE_STORAGE))
    async with node.running(Changes()):
        yield node


async def until(met: Callable[[], object], what: object = "") -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not met():  # noqa: ASYNC110 - a thread makes it so
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        raise TimeoutError(str(what() if callable(what) else what)) from error


def logged(nodes: StorageNodes, number: int) -> list[tuple[Path, int, int]]:
    """Give (file, offset, end) of the frames of log of a member, in order."""
    found = []
    for path in sorted((nodes.data(number) / "journal").glob("*.log")):
        data = path.read_bytes()
        read = lambda size, offset, data=data: data[offset : offset + size]  # noqa: E731
        nonce = parse_header(data[:FILE_HEADER]).nonce
        frames = scan(read, nonce, FILE_HEADER, len(data))
        found += [(path, frame.offset, frame.end) for frame in frames if frame.kind == LOGGED]
    return found


def recorded(nodes: StorageNodes, number: int) -> int:
    """Give D as a member's disk has it."""
    return inspect_disk(ReadOnlyDisk(nodes.data(number)), digests=False).state.committed


def rot(path: Path, offset: int, length: int = 6) -> None:
    with path.open("r+b") as file:
        data = os.pread(file.fileno(), length, offset)
        os.pwrite(file.fileno(), bytes(byte ^ 0x55 for byte in data), offset)


async def test_a_read_that_finds_damage_has_it_mended_and_the_node_stays_in_service(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver, inside(nodes, 2, RARELY) as node:
        elected = await driver.reign()
        data = await written(driver, 30, 1)
        await until(lambda: node.state is StorageState.CURRENT and node.node.durable.flush == elected.end + len(data))
        await until(lambda: node.healing and node.healing.scrubbed_at)
        for path, offset, end in logged(nodes, 2)[5:25:5]:
            rot(path, (offset + end) // 2)
        with pytest.raises(Disconnected):
            await log_of(driver, nodes, 2, elected.end + len(data), elected.epoch)
        await until(lambda: node.status().repaired == 4, node.status)
        assert await log_of(driver, nodes, 2, elected.end + len(data), elected.epoch) == data
        await driver.append(b"goes on")
        assert (node.status().damaged, node.status().message, node.fit) == (0, "", True)


async def test_the_scrub_finds_damage_of_journal_and_image_by_itself(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver, inside(nodes, 3, OFTEN) as node:
        elected = await driver.reign()
        data = await written(driver, 30, 2)
        await nodes.reaches(0, flush=elected.end + len(data))
        image = nodes.data(3) / "images" / elected.history[0].image
        rot(image, 2 << 20)
        path, offset, end = logged(nodes, 3)[8]
        rot(path, offset, end - offset)
        await until(lambda: node.status().repaired == 2 and not node.status().damaged, node.status)
        scrubbed = node.status().scrubbed_at
        await until(lambda: node.status().scrubbed_at > scrubbed)
        assert await log_of(driver, nodes, 3, elected.end + len(data), elected.epoch) == data
        assert (node.status().damaged, node.fit) == (0, True)
        assert node.meters.registry.get_sample_value("borealis_storage_repaired_total") == 2
        assert node.meters.registry.get_sample_value("borealis_storage_corrupt_reads_total") == 2


async def test_what_no_member_gives_is_said_and_tried_again(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        data = await written(driver, 20, 3)
        end = elected.end + len(data)
        for number in range(6):
            await nodes.reaches(number, epoch=elected.epoch, flush=end, durable=end)
        for number in (1, 4):
            await until(lambda number=number: recorded(nodes, number) == end)  # a second after it moved
    async with inside(nodes, 1, OFTEN) as node:
        await nodes.kill(0, 2, 3, 4, 5)
        path, offset, frame_end = logged(nodes, 1)[6]
        rot(path, (offset + frame_end) // 2)
        await until(lambda: "no other member gives it" in node.status().message, node.status)
        assert (node.status().damaged, node.fit) == (1, True)
        await nodes.start(4, format_disk=False)
        await until(lambda: node.status().repaired == 1, node.status)
        assert (node.status().damaged, node.status().message) == (0, "")


async def test_a_node_that_starts_with_a_damaged_journal_mends_it_and_serves(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        data = await written(driver, 40, 4)
        await nodes.reaches(2, flush=elected.end + len(data))
        await nodes.stop(2)
        for path, offset, end in logged(nodes, 2)[4:34:6]:
            rot(path, offset + 20, end - offset - 30)
        data += await written(driver, 5, 5)
        await nodes.start(2, format_disk=False)
        assert await nodes.ends(2) == AGAIN
        await nodes.start(2, format_disk=False)  # as a kubelet does
        assert not driver.over.done(), driver.over
        status = await nodes.reaches(2, epoch=elected.epoch, flush=elected.end + len(data))
        assert status.damaged == 0
        assert await log_of(driver, nodes, 2, elected.end + len(data), elected.epoch) == data


async def test_an_image_whose_head_is_damaged_is_fetched_anew(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        await driver.append(b"x")
        await nodes.reaches(5, flush=elected.end + 1)
        await nodes.stop(5)
        image = nodes.data(5) / "images" / elected.history[0].image
        whole = image.read_bytes()
        rot(image, 0)
        await nodes.start(5, format_disk=False)
        await driver.append(b"y")
        await nodes.reaches(5, epoch=elected.epoch, flush=elected.end + 2)
        await nodes.shows(5, lambda status: status.scrubbed_at > 0 and not status.damaged)  # by a Begin or the scrub
        assert image.read_bytes() == whole
        assert (await nodes.status(5)).has_image


async def test_a_damaged_promise_takes_a_running_node_out_of_service_for_good(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver, inside(nodes, 2, OFTEN) as node:
        elected = await driver.reign()
        data = await written(driver, 10, 6)
        await until(lambda: node.node.durable.flush == elected.end + len(data))
        journal = next((nodes.data(2) / "journal").glob("*.log"))
        rot(journal, journal.read_bytes().index(b'"owner":"' + driver.owner.encode()))
        await until(lambda: not node.fit, node.status)
        assert "no proof that no promise or history is lost" in node.status().message
        assert (node.state, node.status().damaged) == (StorageState.FAILED, 1)
        await driver.append(b"goes on")
        assert not node.renewal.is_set()


@pytest.mark.parametrize("way", ["python", "library"])
async def test_a_failed_sync_is_never_over_by_itself(
    nodes: StorageNodes, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "library" and native.library() is None:
        pytest.skip("the native library is not built here")
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        async with inside(nodes, 4, RARELY) as node:
            await driver.append(b"before")
            await until(lambda: node.node.durable.flush == elected.end + 6)
            if way == "python":
                monkeypatch.setattr(Lending, "terms", lambda self, terms: False)
                monkeypatch.setattr(os, "pwritev", refuse_to_write)
            else:
                pipe = os.pipe()  # which takes nothing at an offset
                monkeypatch.setattr(JournalFile, "fileno", lambda self: pipe[0])
            with node.shell.lock:  # the library hears of it when that is left
                pass
            await driver.append(b"after")
            await until(lambda: not node.fit)
            monkeypatch.undo()
            assert ("Input/output error" if way == "python" else "Illegal seek") in node.status().message
            await driver.append(b"goes on")
            assert (node.state, node.status().flush_lsn) == (StorageState.FAILED, elected.end + 6)
            assert not node._worth_another_start()
        await nodes.start(4, format_disk=False)  # somebody judged the disk to be good
        end = await driver.append(b".")
        await nodes.reaches(4, flush=end)


def refuse_to_write(*_: object) -> int:
    raise OSError(errno.EIO, "Input/output error")


@contextmanager
def small_disks(nodes: StorageNodes, *numbers: int) -> Iterator[None]:
    """Give members disks of their own of 96 MiB; their processes must not run."""
    mounted = []
    try:
        for number in numbers:
            path = nodes.data(number)
            path.mkdir(parents=True, exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(path)]
            if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("only root may mount a small disk")
            mounted.append(path)
        yield
    finally:
        for path in mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill_up(nodes: StorageNodes, number: int, *, leave: int = 0) -> Path:
    """Leave no more room than so many bytes on a member's disk."""
    ballast = nodes.data(number) / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while not leave or shutil.disk_usage(ballast).free > leave:
                file.write(bytes(1 << 16))
        except OSError:
            pass
    return ballast


async def short_of_room(nodes: StorageNodes, number: int) -> None:
    """Wait until a member says that it takes no more log, and see that it serves on."""
    status = await nodes.shows(number, lambda status: status.message == NO_ROOM)
    assert status.state in (StorageState.CURRENT, StorageState.CATCHING_UP)


async def full_disks(nodes: StorageNodes, *numbers: int) -> list[Path]:
    """Leave no byte on members' disks, and wait until they know: log that is under way meanwhile could find no room."""
    ballast = [fill_up(nodes, number) for number in numbers]
    for number in numbers:
        await short_of_room(nodes, number)
    return ballast


async def test_members_that_are_full_stop_nothing_and_go_on_when_there_is_room(tmp_path: Path) -> None:
    """They refuse log before their disks do, so none of them fails; three of them stop commits and no leadership."""
    nodes = StorageNodes(tmp_path, lease_s=LEASE_S)
    with small_disks(nodes, 0, 3, 4):
        async with nodes:
            piece = os.urandom(1 << 20)
            async with WriterDriver(nodes) as driver:
                elected: Elected = await driver.reign()
                await driver.append(piece)
                ballast = await full_disks(nodes, 0, 3)
                for _ in range(12):  # more than is filled ahead
                    await driver.append(piece)
                for number in (0, 3):
                    await short_of_room(nodes, number)
                for path in ballast:
                    path.unlink()
                for number in (0, 3):
                    await nodes.reaches(number, epoch=elected.epoch, flush=elected.end + 13 * len(piece))
                await three_full(nodes, driver, piece)
                await nodes.reaches(3, flush=driver.writer.durable)
                held = await log_of(driver, nodes, 3, driver.writer.durable, elected.epoch)
                same = held == piece * (len(held) // len(piece))
                assert same
            async with WriterDriver(nodes) as successor:
                assert (await successor.reign()).end == elected.end + len(held)
                await successor.append(b"after")


async def three_full(nodes: StorageNodes, driver: WriterDriver, piece: bytes) -> None:
    """Fill three disks: commits wait, for longer than the lease; with room again they are all acknowledged."""
    ballast = await full_disks(nodes, 0, 3, 4)
    appending = [asyncio.ensure_future(driver.append(piece)) for _ in range(12)]
    for number in (0, 3, 4):
        await short_of_room(nodes, number)
    waits, _ = await asyncio.wait({driver.over}, timeout=2 * LEASE_S)
    assert not waits, "the leadership is over"
    assert not appending[-1].done()
    for path in ballast:
        path.unlink()
    await asyncio.wait_for(asyncio.gather(*appending), DEADLINE_S)


async def test_an_election_and_its_first_log_are_served_by_the_reserve(tmp_path: Path) -> None:
    nodes = StorageNodes(tmp_path, lease_s=LEASE_S)
    with small_disks(nodes, 0, 1, 2):
        async with nodes:
            async with WriterDriver(nodes) as driver:
                await driver.reign()
                await driver.append(bytes(2 << 20))
                ballast = [fill_up(nodes, number, leave=16 << 20) for number in (0, 1, 2)]
                lost = asyncio.ensure_future(driver.append(bytes(16 << 20)))
                for number in (0, 1, 2):
                    await short_of_room(nodes, number)
                assert not lost.done()
                driver.resign()
                lost.cancel()
            for _ in range(3):
                async with WriterDriver(nodes) as successor:
                    again = await successor.reign()
                    assert await successor.append(bytes(256 << 10)) == again.end + (256 << 10)
                    successor.resign()
            for path in ballast:
                path.unlink()


async def test_a_disk_that_has_not_even_room_for_a_configuration_fails_and_is_back_when_it_has(tmp_path: Path) -> None:
    nodes = StorageNodes(tmp_path, lease_s=LEASE_S)
    with small_disks(nodes, 0):
        async with nodes, WriterDriver(nodes) as driver:
            await driver.reign()
            await driver.append(b"x")
            ballast = fill_up(nodes, 0)
            newer = replace(nodes.config, revision=nodes.config.revision + 1)
            with pytest.raises(aiohttp.ClientResponseError, match="409"):
                await nodes.push(newer, 0)
            status = await nodes.shows(0, lambda status: status.state is StorageState.FAILED)
            assert "disk full" in status.message
            ballast.unlink()
            assert await nodes.ends(0) == AGAIN
            await nodes.start(0, format_disk=False)  # as a kubelet does
            await nodes.reaches(0, flush=await driver.append(b"y"))


async def test_a_member_takes_no_more_than_its_claim_and_goes_on_when_that_grows(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        await driver.reign()
        for number in range(3):
            await nodes.hold(number, (await nodes.status(number)).bytes_used + (40 << 20))
        appending = [asyncio.ensure_future(driver.append(bytes(1 << 20))) for _ in range(24)]
        for number in range(3):
            await short_of_room(nodes, number)
            status = await nodes.status(number)
            assert status.bytes_free + status.bytes_used == status.claim
        assert not appending[-1].done()
        await nodes.hold(0, 1 << 30)
        await asyncio.wait_for(asyncio.gather(*appending), DEADLINE_S)
