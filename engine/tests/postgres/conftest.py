"""Real PostgreSQL for tests: its programs, one image for all, and places that its user reaches."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.postgres.account import choose_account
from borealis_engine.postgres.attached import Attached, Site
from borealis_engine.postgres.binaries import Binaries, find_binaries
from borealis_engine.postgres.errors import BinariesMissing
from borealis_engine.postgres.image import Image, make_image
from borealis_engine.postgres.settings import MIB, Configuration, Place
from borealis_engine.postgres.testing import MemoryVolume, place


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    try:
        return find_binaries(os.environ)
    except BinariesMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def image(binaries: Binaries) -> Iterator[Image]:
    with place() as folder:
        yield make_image(binaries, folder / "scratch", choose_account())


@pytest.fixture
def folder() -> Iterator[Path]:
    with place() as path:
        yield path


@pytest.fixture
def volume(image: Image) -> MemoryVolume:
    return MemoryVolume(image=image.digest, start=image.head.description.wal_start, log=image.wal)


@pytest.fixture
async def attach(
    folder: Path, binaries: Binaries, image: Image, volume: MemoryVolume
) -> AsyncIterator[Callable[..., Attached]]:
    """Make instance number n of the volume, anew if there was one of that number; all are stopped in the end."""
    made: list[Attached] = []

    def make(number: int, *, configuration: Configuration | None = None, server_tls: Path | None = None) -> Attached:
        address = f"127.9.{os.getpid() % 250}.{number}"
        site = Site(
            data=folder / f"data-{number}",
            run=folder / f"run-{number}",
            place=Place(
                name=f"instance-{number}",
                addresses=(address,),
                port=5432,
                sockets=str(folder / f"run-{number}"),
                shared_buffers=32 * MIB,
            ),
            binaries=binaries,
            account=choose_account(),
            server_tls=server_tls,
        )
        site.prepare()
        durable = Lsn(volume.durable)
        made.append(Attached(site, image, volume, history=volume.history, durable=durable, configuration=configuration))
        return made[-1]

    yield make
    for each in made:
        await each.stop()
