"""A folder for real agents, or a skip where there is no PostgreSQL."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import BinariesMissing


@contextmanager
def _place() -> Iterator[Path]:
    try:
        find_binaries(os.environ)
    except BinariesMissing as error:
        pytest.skip(str(error))
    path = Path(tempfile.mkdtemp(prefix="borealis-ag-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    with _place() as path:
        yield path


@pytest.fixture(scope="module")
def lasting_folder() -> Iterator[Path]:
    with _place() as path:
        yield path
