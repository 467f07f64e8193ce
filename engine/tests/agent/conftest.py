"""A folder for real agents, or a skip where there is no PostgreSQL."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import BinariesMissing
from borealis_engine.postgres.testing import place


@pytest.fixture(scope="session")
def postgresql() -> None:
    try:
        find_binaries(os.environ)
    except BinariesMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(postgresql: None) -> Iterator[Path]:
    with place() as path:
        yield path
