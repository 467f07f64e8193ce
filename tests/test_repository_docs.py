"""Every command of the documentation is run by a test, or says why not; every link leads somewhere."""

import re
import subprocess
import sys
from pathlib import Path

from tests.repository import ROOT, tracked

TOOL = ROOT / "tools" / "doc_commands.py"
# Not for users who type: what was decided, and what the code is.
WITHOUT = {"CHANGELOG.md", "docs/decisions", "docs/architecture.md", "docs/glossary.md"}


def pages() -> list[str]:
    """Give the pages whose commands count."""
    return [str(p) for p in tracked() if p.suffix == ".md" and not any(str(p).startswith(w) for w in WITHOUT)]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def test_every_command_of_the_documentation_says_what_runs_it() -> None:
    assert "README.md" in pages()
    done = run("check", *pages())
    assert done.returncode == 0, done.stdout


def test_a_block_that_says_nothing_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```sh\necho a\n```\n\n<!-- run: no, it is an example -->\n```sh\necho b\n```\n")
    done = run("check", str(page))
    assert (done.returncode, done.stdout.split(": ")[0]) == (1, f"{page}:3")


def test_the_blocks_of_a_page_share_a_shell_and_stop_at_the_first_failure(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    mark = "<!-- run: local -->\n"
    page.write_text(
        f"{mark}```sh\nx=1\n```\n{mark}```sh\necho x=$x\n```\n{mark}```python\nprint(6 * 7)\n```\n"
        "<!-- run: kind -->\n```sh\necho elsewhere\n```\n"
        f"{mark}```sh\nfalse\necho after\n```\n"
    )
    done = run("run", "local", str(page))
    said = [line for line in done.stdout.splitlines() if not line.startswith("---")]
    assert (done.returncode, said) == (1, ["x=1", "42"])


LINK = re.compile(r"\[([^]]*)\]\((?!https?:|#)([^)#\s]+)[^)]*\)")


def links() -> list[tuple[Path, str, Path]]:
    """Give page, text and target of every link within the repository."""
    texts = ((p, (ROOT / p).read_text(encoding="utf-8")) for p in tracked() if p.suffix == ".md")
    return [(page, label, ROOT / page.parent / target) for page, text in texts for label, target in LINK.findall(text)]


def test_links_lead_to_files_and_links_to_tests_to_tests() -> None:
    named = 0
    for page, label, target in links():
        assert target.exists(), f"{page}: [{label}] leads to {target}, which is not there"
        if label.startswith("test_"):
            named += 1
            assert f"def {label}(" in target.read_text(encoding="utf-8"), f"{page}: {target} has no {label}"
    assert named > 20
