"""The commands of the documentation that run in local mode, typed page by page into an empty machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import BinariesMissing

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[3]
PAGE_S = 240


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """What a user has who did `make setup`: the commands, psql, and no cluster yet."""
    try:
        psql = Path(find_binaries(os.environ).path("psql"))
    except BinariesMissing as missing:
        pytest.skip(str(missing))
    scratch = Path(tempfile.mkdtemp(prefix="borealis-docs-", dir="/var/tmp"))
    scratch.chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(psql.parent), os.environ["PATH"]])
    try:
        yield {**os.environ, "PATH": path, "BOREALIS_STATE": str(scratch / "state")}
        assert not (scratch / "state").exists(), "the page leaves its cluster behind"
    finally:
        program = str(Path(sys.executable).with_name("borealis"))
        subprocess.run(
            [program, "local", "down", "--purge", "--state", str(scratch / "state")], check=False, timeout=60
        )
        shutil.rmtree(scratch)


@pytest.mark.parametrize("page", ["docs/quickstart.md", "docs/connect.md"])
def test_the_commands_of_a_page_work(page: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "tools/doc_commands.py", "run", "local", page],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PAGE_S,
    )
    assert done.returncode == 0, done.stdout


def test_no_page_with_commands_for_local_mode_is_left_out() -> None:
    marked = {str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md") if "<!-- run: local -->" in p.read_text()}
    assert marked == {"docs/quickstart.md", "docs/connect.md"}
