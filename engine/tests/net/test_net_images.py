"""Real nodes whose image cannot be read: each claims the log that its journal holds, and no new database is made."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from borealis_engine.contract.status import StorageState
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.effects import Elected
from borealis_engine.net.testing import StorageNodes, WriterDriver
from borealis_engine.net.testing.driver import WAL_END
from borealis_engine.store.disk import RealFile

from .test_net_healing import RARELY, inside, rot, until
from .test_net_volume import nodes, written

__all__ = ["nodes"]  # a fixture

pytestmark = pytest.mark.slow  # six processes for each test


def image_of(nodes: StorageNodes, number: int, elected: Elected) -> Path:
    return nodes.data(number) / "images" / elected.history[0].image


async def held_by(driver: WriterDriver, nodes: StorageNodes, number: int, size: int) -> bytes:
    """Give the first `size` bytes of log of a member, below D."""
    member = nodes.config.members[number].id
    return await driver.members.read_log_bytes(member, start=WAL_END, upto=Lsn(WAL_END + size), epoch=Epoch(0))


async def acknowledged(nodes: StorageNodes) -> tuple[Elected, bytes]:
    """Have commits on members 0 to 3 that 4 and 5 lack; all are stopped."""
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        data = await written(driver, 10, 1)
        for number in range(6):
            await nodes.reaches(number, flush=elected.end + len(data))
        await nodes.kill(4, 5)
        data += await written(driver, 30, 2)
    await nodes.stop(0, 1, 2, 3)
    return elected, data


async def test_commits_survive_two_members_with_an_unreadable_image_among_the_four_that_elect(
    nodes: StorageNodes,
) -> None:
    elected, data = await acknowledged(nodes)
    for number in (0, 1):
        rot(image_of(nodes, number, elected), 3, length=1)
    await nodes.start(0, 1, 4, 5, format_disk=False)
    async with WriterDriver(nodes) as driver:
        again = await driver.reign()
        assert again.history[0] == elected.history[0]
        assert again.end >= WAL_END + len(data)
        end = await driver.append(b"after")
        await nodes.start(2, 3, format_disk=False)
        for number in range(6):
            await nodes.reaches(number, flush=end, durable=end)
            assert await held_by(driver, nodes, number, len(data)) == data
        for number in (0, 1):
            status = await nodes.shows(number, lambda status: status.has_image and not status.damaged)
            assert status.repaired >= 1


async def test_no_new_database_is_made_while_four_cannot_read_their_image(nodes: StorageNodes) -> None:
    elected, data = await acknowledged(nodes)
    for number in range(4):
        rot(image_of(nodes, number, elected), 3, length=1)
    await nodes.start(0, 1, 2, 3, format_disk=False)
    async with WriterDriver(nodes) as driver:
        why = await driver.waits_for("can read image")
        assert "no new database is made" in why
        for number in range(4):
            status = await nodes.shows(number, lambda status: "no other member gives it" in status.message)
            assert (status.has_image, status.damaged, status.flush_lsn) == (False, 1, WAL_END + len(data))
        await nodes.start(4, 5, format_disk=False)
        again = await driver.reign()
        assert again.history[0] == elected.history[0]
        end = await driver.append(b"after")
        for number in range(6):
            await nodes.reaches(number, flush=end, durable=end)
            assert await held_by(driver, nodes, number, len(data)) == data
            await nodes.shows(number, lambda status: status.has_image and not status.damaged)


def _cut(image: Path) -> None:
    with image.open("r+b") as file:
        file.truncate(2 << 20)


def _empty(image: Path) -> None:
    image.write_bytes(b"")


def _body(image: Path) -> None:
    rot(image, 2 << 20)


def _no_folder(image: Path) -> None:
    shutil.rmtree(image.parent)


@pytest.mark.parametrize("harm", [_cut, _empty, _body, _no_folder, Path.unlink], ids=lambda harm: harm.__name__)
async def test_whatever_became_of_an_image_the_member_stays_and_fetches_it_anew(
    nodes: StorageNodes, harm: Callable[[Path], None]
) -> None:
    elected, data = await acknowledged(nodes)
    image = image_of(nodes, 2, elected)
    whole = image.read_bytes()
    harm(image)
    await nodes.start(*range(6), format_disk=False)
    async with WriterDriver(nodes) as driver:
        end = await driver.append_when_elected(b"after")
        await nodes.reaches(2, flush=end, durable=end)
        await nodes.shows(2, lambda status: status.scrubbed_at > 0 and status.has_image and not status.damaged)
        assert image.read_bytes() == whole
        assert await held_by(driver, nodes, 2, len(data)) == data


async def test_an_image_that_the_disk_does_not_give_is_fetched_anew(
    nodes: StorageNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    elected, data = await acknowledged(nodes)
    await nodes.start(*range(6), format_disk=False)
    image = image_of(nodes, 2, elected)
    bad, read = image.stat().st_ino, RealFile.read

    def refuse(self: RealFile, size: int, offset: int) -> bytes:
        if os.fstat(self.fileno()).st_ino == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(self, size, offset)

    monkeypatch.setattr(RealFile, "read", refuse)
    async with inside(nodes, 2, RARELY) as node, WriterDriver(nodes) as driver:
        end = await driver.append_when_elected(b"after")
        await until(lambda: node.node.has_image and node.node.durable.flush >= end, node.status)
        assert image.stat().st_ino != bad
        await until(lambda: node.state is StorageState.CURRENT, node.status)
        assert await held_by(driver, nodes, 2, len(data)) == data
