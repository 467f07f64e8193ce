#!/usr/bin/env python3
"""The commands of the documentation: each block is run by a test, or says why not.

A line before a fenced block of `sh` or `python` says what runs it:

    <!-- run: local -->          in local mode, by local/tests/cluster
    <!-- run: kind -->           on kind, by e2e
    <!-- run: no, the reason --> by nobody

`tools/doc_commands.py check PAGE...` names blocks that say nothing; `run local|kind PAGE` runs the page's blocks in one
shell, in their order, and ends at the first command that fails.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = ("sh", "python")
FENCE = re.compile(r"^(\s*)```(\w*)\s*$")
MARK = re.compile(r"^\s*<!-- run: (local|kind|no, .+) -->\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of commands; `where` is empty if nothing says what runs it."""

    page: Path
    line: int
    language: str
    where: str
    text: str

    @property
    def script(self) -> str:
        """The block as a part of a shell script."""
        title = f"echo '--- {self.page}:{self.line}'\n"
        if self.language == "python":
            return f"{title}python3 - <<'END_OF_BLOCK'\n{self.text}END_OF_BLOCK\n"
        return f"{title}{self.text}"


def blocks(page: Path) -> Iterator[Block]:
    """Give the page's blocks of the languages that can be run."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        opened = FENCE.match(lines[number])
        if opened is None:
            number += 1
            continue
        end = next(n for n in range(number + 1, len(lines)) if FENCE.match(lines[n]))
        if opened[2] in LANGUAGES:
            marked = MARK.match(lines[number - 1]) if number else None
            text = "".join(line.removeprefix(opened[1]) + "\n" for line in lines[number + 1 : end])
            where = marked[1].split(",")[0] if marked else ""
            yield Block(page=page, line=number + 1, language=opened[2], where=where, text=text)
        number = end + 1


def unmarked(pages: list[Path]) -> list[str]:
    """Name the blocks that do not say what runs them."""
    return [f"{b.page}:{b.line}" for page in pages for b in blocks(page) if not b.where]


def script(page: Path, where: str) -> str:
    """Give the shell script of a page's blocks that run there; empty if there are none."""
    parts = [block.script for block in blocks(page) if block.where == where]
    return "set -euo pipefail\n" + "".join(parts) if parts else ""


def main() -> int:
    """Run `tools/doc_commands.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="name blocks that do not say what runs them").add_argument(
        "pages", nargs="+", type=Path
    )
    run = commands.add_parser("run", help="run the blocks of a page")
    run.add_argument("where", choices=("local", "kind"))
    run.add_argument("page", type=Path)
    given = parser.parse_args()
    if given.command == "check":
        missing = unmarked(given.pages)
        sys.stdout.writelines(f"{place}: says neither what runs it nor why nothing does\n" for place in missing)
        return 1 if missing else 0
    text = script(given.page, given.where)
    if not text:
        sys.stderr.write(f"{given.page}: no block runs on {given.where}\n")
        return 2
    return subprocess.run(["bash", "-c", text], stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
