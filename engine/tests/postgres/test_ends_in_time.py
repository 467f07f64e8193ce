"""What must end, ends: tools that hang, servers that ignore us, images that cannot be made."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from borealis_engine.contract.volume import Epoch, Generation, VolumeConfig
from borealis_engine.core.effects import NeedImage
from borealis_engine.core.reign import LEASE_SHARE
from borealis_engine.net.members import Members
from borealis_engine.postgres import image, instance, process
from borealis_engine.postgres.attached import Site
from borealis_engine.postgres.errors import CommandFailed, ReignEnded
from borealis_engine.postgres.image import Image
from borealis_engine.postgres.instance import Identity, Instance
from borealis_engine.postgres.ownership import Ownership
from borealis_engine.postgres.process import Server, choose_grace

DEADLINE_S = 20.0
NOTHING = cast(Any, None)
CONFIG = VolumeConfig(cluster_uid="u", generation=Generation(1), revision=1, sealed=True, members=())


@pytest.mark.parametrize("lease", [0.5, 4.0, 300.0])
def test_a_writer_is_gone_before_the_nodes_let_another_in(lease: float) -> None:
    assert LEASE_SHARE * lease + choose_grace(lease) < 0.95 * lease


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_tool_that_hangs_is_killed_and_forgotten(tmp_path: Path) -> None:
    told, before = tmp_path / "pid", set(process._ours)
    with pytest.raises(CommandFailed, match="timed out"):
        process.run(["/bin/sh", "-c", f"echo $$ > {told}; exec sleep 600"], None, cwd=tmp_path, timeout=1.0)
    assert not alive(int(told.read_text()))
    assert process._ours == before


async def test_a_server_that_ignores_its_shutdown_is_killed_though_nobody_awaits_it(tmp_path: Path) -> None:
    program = tmp_path / "stubborn"
    program.write_text("#!/bin/sh\ntrap '' QUIT\necho up >&2\nwhile :; do sleep 0.05; done\n")
    program.chmod(0o755)
    loop, up, data = asyncio.get_running_loop(), asyncio.Event(), tmp_path / "data"
    data.mkdir()
    server = Server.start(str(program), data, None, lambda text: loop.call_soon_threadsafe(up.set))
    await asyncio.wait_for(up.wait(), DEADLINE_S)
    server.shoot(0.2)
    assert await asyncio.wait_for(asyncio.shield(server.died), DEADLINE_S) == -9
    await server.stop()
    assert server.pid not in process._ours


def test_a_directory_whose_log_lacks_the_checkpoint_makes_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pg_wal").mkdir()
    control = {"state": "shut down", "segment": str(4 << 20), "checkpoint": "0/400028", "system": "1"}
    monkeypatch.setattr(image, "_control", lambda *_: control)
    with pytest.raises(CommandFailed, match="checkpoint"):
        image.pack_image(NOTHING, tmp_path, None)


async def test_a_creation_that_fails_by_surprise_ends_the_attempt_with_its_reason() -> None:
    async def broken() -> Image:
        raise OSError("no space left")

    ownership = Ownership(config=CONFIG, tls=NOTHING, lease=4.0, segment_size=4 << 20, make_image=broken)
    ownership._do(NeedImage(epoch=Epoch(2)))
    with pytest.raises(ReignEnded, match="no space left"):
        await asyncio.wait_for(ownership.ended, DEADLINE_S)
    await ownership.aclose(resign=False)


@pytest.fixture
def idle_instance(tmp_path: Path) -> Instance:
    """An instance that has not begun to live."""
    site = Site(data=tmp_path, run=tmp_path, place=NOTHING, binaries=NOTHING, account=None)
    members = Members(tls=NOTHING, identity="i", config=CONFIG)
    return Instance(site, Identity(name="i", zone="a", lease=4.0, tls=NOTHING), members, lambda: None)


async def test_one_image_is_made_at_a_time_and_each_in_a_place_of_its_own(
    idle_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, go = list[Path](), threading.Event()

    def slow(binaries: object, scratch: Path, account: object) -> Image:
        places.append(scratch)
        assert go.wait(DEADLINE_S)
        return cast(Image, scratch)

    monkeypatch.setattr(instance, "make_image", slow)
    first = asyncio.create_task(idle_instance._make_image())
    async with asyncio.timeout(DEADLINE_S):
        while not places:  # noqa: ASYNC110 (a thread tells nobody)
            await asyncio.sleep(0.01)
    first.cancel()  # its candidacy is given up; the thread goes on
    await asyncio.wait({first})
    second = asyncio.create_task(idle_instance._make_image())
    await asyncio.sleep(0)
    go.set()
    await asyncio.wait_for(second, DEADLINE_S)
    assert len(places) == 1
    await asyncio.wait_for(idle_instance._make_image(), DEADLINE_S)
    assert len(set(places)) == 2
