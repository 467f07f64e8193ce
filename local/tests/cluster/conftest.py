"""One local cluster for the tests of each file of this folder."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import BinariesMissing
from borealis_local.trial import Local


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    """A running quickstart, of this file alone: its last test may delete it; purged afterwards."""
    try:
        find_binaries(os.environ)
    except BinariesMissing as missing:
        pytest.skip(str(missing))
    # Not below pytest's own directory: that is closed to PostgreSQL's user when the tests run as root.
    scratch = Path(tempfile.mkdtemp(prefix="borealis-test-", dir="/var/tmp"))
    scratch.chmod(0o755)
    running = Local(state=scratch / "state", scratch=scratch)
    try:
        running.borealis("local", "up")
        yield running
    finally:
        running.borealis("local", "down", "--purge")
        shutil.rmtree(scratch)


@pytest.fixture
def healthy(local: Local) -> Local:
    """The quickstart, whole: a test may break it, and the next one waits until it is whole again."""
    local.until(local.healthy, "the cluster did not become whole")
    return local
