"""Where a test keeps the directories of PostgreSQL."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def place() -> Iterator[Path]:
    """Give a folder that every user may pass through (pytest's own ones of root are closed); removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="borealis-pg-"))
    try:
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
