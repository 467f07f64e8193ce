"""Real storage nodes of which one has a damaged configuration: it infects nobody, and learns the right one anew."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from borealis_engine.contract.status import StorageState
from borealis_engine.contract.volume import Generation, VolumeConfig
from borealis_engine.main.storage import AGAIN
from borealis_engine.net.testing import StorageNodes, WriterDriver
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.notes import write_note

from .test_net_healing import rot

pytestmark = pytest.mark.slow  # six processes for each test


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[StorageNodes]:
    async with StorageNodes(tmp_path, lease_s=1.0) as running:
        yield running


async def test_a_damaged_configuration_is_told_and_learnt_anew_from_the_operator(nodes: StorageNodes) -> None:
    async with WriterDriver(nodes) as driver:
        await driver.append_when_elected(b"before")
        await nodes.stop(2)
        path = nodes.data(2) / "volume.json"
        rot(path, path.read_bytes().index(b'"generation":') + 13, length=1)
        await nodes.start(2, format_disk=False)
        status = await nodes.shows(2, lambda status: status.state is StorageState.FAILED)
        assert "volume.json is damaged" in status.message
        assert (status.generation, status.revision) == (0, 0), "so the operator tells it"
        assert status.flush_lsn > 0
        end = await driver.append(b"goes on")
        await nodes.push(nodes.config, 2)
        assert await nodes.ends(2) == AGAIN
        await nodes.start(2, format_disk=False)  # as a kubelet does
        await nodes.reaches(2, flush=end)


async def test_one_member_with_a_later_generation_infects_nobody(nodes: StorageNodes) -> None:
    """As if a bit had flipped before its checksum was made."""
    async with WriterDriver(nodes) as driver:
        await driver.append_when_elected(b"before")
        await nodes.stop(2)
        write_note(RealDisk(nodes.data(2)), "volume.json", replace(nodes.config, generation=Generation(6)).to_json())
        await nodes.start(2, format_disk=False)
        assert (await nodes.status(2)).generation == 6
        end = await driver.append(b"goes on")
        async with WriterDriver(nodes) as other:  # which asks all six, and hears of it
            await other.waits_for("config")
            assert other.members.config.generation == 1
        end = await driver.append(b"and on")
        for number in (0, 1, 3, 4, 5):
            assert (await nodes.reaches(number, flush=end)).generation == 1
            kept = (nodes.data(number) / "volume.json").read_text().splitlines()[0]
            assert VolumeConfig.from_json(kept).generation == json.loads(kept)["generation"] == 1
        healed = replace(nodes.config, generation=Generation(7), revision=2)  # by the operator
        await nodes.push(healed, *range(6))
        end = await driver.append(b"healed")
        for number in range(6):
            assert (await nodes.reaches(number, flush=end)).generation == 7
