"""What is committed, as the rules of the repository see it: tracked files and their text."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BINARY = {".png", ".gz", ".zst", ".ico", ".jpg", ".wal", ".bin"}


@cache
def tracked() -> tuple[Path, ...]:
    """Give every tracked file that exists, relative to the root; skip where there is no git checkout."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout: there are no tracked files")
    return tuple(path for name in done.stdout.split("\0") if name and (path := Path(name)) and (ROOT / path).is_file())


def texts(*suffixes: str) -> dict[Path, str]:
    """Give the text of tracked files with one of these suffixes, of all text files if none is named."""
    return {
        path: (ROOT / path).read_text(encoding="utf-8")
        for path in tracked()
        if path.suffix not in BINARY and (not suffixes or path.suffix in suffixes) and not (ROOT / path).is_symlink()
    }
