"""The file of results, and the page that shows it: one flat object, and a table made from nothing else.

Invariant: docs/performance.md says what latest.json says; a test of the repository compares them.
"""

import json
import os
from pathlib import Path
from typing import Final

from benchmarks import tables
from benchmarks.machine import QUIET_BUSY
from benchmarks.tables import Results

ROOT: Final = Path(__file__).resolve().parent.parent
LATEST: Final = ROOT / "benchmarks" / "results" / "latest.json"
PAGE: Final = ROOT / "docs" / "performance.md"
_SECTIONS: Final = ("results", "stages", "settings", "machine")


def write(results: Results, path: Path) -> None:
    """Replace the file whole."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(results, indent=2) + "\n")
    os.replace(new, path)


def read(path: Path = LATEST) -> Results:
    """Read a file of results."""
    found: dict[str, str | float] = json.loads(path.read_text())
    return found


def render_page(text: str, results: Results) -> str:
    """Give the page with each part between its markers made anew from the results."""
    for section in _SECTIONS:
        begin, end = f"<!-- begin {section} -->\n", f"<!-- end {section} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page has no part between {begin.strip()} and {end}")
        text = head + begin + _RENDER[section](results) + end + tail
    return text


def render_results(results: Results) -> str:
    """Give the tables of what was measured."""
    return _caveat(results) + "".join(render(results) for render in tables.OF_RESULTS)


def _caveat(results: Results) -> str:
    """Say it where the figures stand if they are of little worth."""
    reasons = []
    if results.get("run.mode") != "full":
        reasons.append("from a quick run")
    if (share := float(results.get("machine.busy_before", 0))) > QUIET_BUSY:
        reasons.append(f"from a machine of which other work used {share:.0%}")
    return f"\n**Not to be quoted**: these figures are {' and '.join(reasons)}.\n" if reasons else ""


def render_stages(results: Results) -> str:
    """Give where the microseconds of a commit go."""
    rows = [(key.partition(".")[2], f"{value:g}") for key, value in results.items() if key.startswith("stages.")]
    return tables.table(("stage of a commit, 1 client", "median, µs"), rows)


def render_settings(results: Results) -> str:
    """Give the settings that differ."""
    rows = []
    for key, value in results.items():
        if key.startswith("settings."):
            shown, _, reason = str(value).partition(": ")
            rows.append((f"`{key.partition('.')[2]}`", shown, reason))
    return tables.table(("setting", "values", "why"), rows)


def render_machine(results: Results) -> str:
    """Give what the figures were taken on."""
    rows = [
        (key.partition(".")[2], str(value)) for key, value in results.items() if key.startswith(("machine.", "run."))
    ]
    return tables.table(("machine and run", ""), rows)


_RENDER: Final = {
    "results": render_results,
    "stages": render_stages,
    "settings": render_settings,
    "machine": render_machine,
}
