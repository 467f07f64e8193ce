"""Two processes on one disk: the second says who holds it, touches nothing, and begins when the first has ended."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from borealis_engine.contract import names
from borealis_engine.contract.status import StorageState
from borealis_engine.net.testing import StorageNodes, WriterDriver
from borealis_engine.net.testing.driver import DEADLINE_S
from borealis_engine.net.testing.program import Program
from borealis_engine.store.lock import DiskInUse, DiskLock

pytestmark = pytest.mark.slow  # six processes for each test

MAIN = "borealis_engine.main.storage:main"


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[StorageNodes]:
    async with StorageNodes(tmp_path, lease_s=1.0) as running:
        yield running


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Give size and time of the last change of every file."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("may_format", [False, True])
async def test_a_second_process_waits_and_names_the_holder(nodes: StorageNodes, *, may_format: bool) -> None:
    """As after `kubectl delete --force`: the old process lives on, and may wake up at any time."""
    async with WriterDriver(nodes) as driver:
        await driver.append_when_elected(b"before")
        old, address = nodes.processes.pop(2), nodes.address(3)
        await old.freeze()
        before = files(nodes.data(2))
        member = nodes.config.members[2]
        environment = nodes.environment(
            names.ROLE_STORAGE, pod=member.name, ip=nodes.address(40), zone=member.zone, data=nodes.data(2)
        )
        environment |= {names.ENV_MEMBER_ID: member.id, names.ENV_FORMAT: "true" if may_format else "false"}
        output = nodes.directory / "second.log"
        second = await Program.start(MAIN, environment=environment, output=output)
        nodes.processes[2] = second
        status = await nodes.shows(39, lambda status: status.state is StorageState.DISK_IN_USE)
        assert f"{member.name} at {address}, process {old.pid}" in status.message
        end = await driver.append(b"goes on")
        assert files(nodes.data(2)) == before, "not a byte is touched"
        old.send_signal(signal.SIGCONT)
        end = await driver.append(b"and on")
        assert second.returncode is None
        assert (await nodes.status(39)).state is StorageState.DISK_IN_USE
        old.kill()
        await old.wait()
        async with asyncio.timeout(DEADLINE_S):
            while (status := await nodes.answering(39)).state is StorageState.DISK_IN_USE:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        assert status.state in (StorageState.CATCHING_UP, StorageState.CURRENT)
        assert status.flush_lsn > 0
        assert await driver.append(b"after") > end


async def test_a_process_that_waits_ends_when_it_is_told_to(nodes: StorageNodes) -> None:
    member = nodes.config.members[2]
    environment = nodes.environment(
        names.ROLE_STORAGE, pod=member.name, ip=nodes.address(40), zone=member.zone, data=nodes.data(2)
    )
    environment[names.ENV_MEMBER_ID] = member.id
    second = await Program.start(MAIN, environment=environment, output=nodes.directory / "second.log")
    await nodes.shows(39, lambda status: status.state is StorageState.DISK_IN_USE)
    second.terminate()
    assert await asyncio.wait_for(second.wait(), DEADLINE_S) == 0


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    first, second = DiskLock(tmp_path / "data"), DiskLock(tmp_path / "data")
    first.take("the first")
    first.take("the first again")
    with pytest.raises(DiskInUse, match="the first"):
        second.take("the second")
    first.release()
    second.take("the second")
    assert (tmp_path / "data" / "lock").read_text() == "the second"
    assert not os.get_inheritable(second._fd)
