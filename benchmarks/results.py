"""The file of results, and the page that shows it: one flat object, and a table made from nothing else.

Invariant: docs/performance.md says what latest.json says; a test of the repository compares them.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.machine import QUIET_BUSY

Results: TypeAlias = Mapping[str, str | float]
ROOT: Final = Path(__file__).resolve().parent.parent
LATEST: Final = ROOT / "benchmarks" / "results" / "latest.json"
PAGE: Final = ROOT / "docs" / "performance.md"
_CONFIGURATIONS: Final = {
    "borealis": "Borealis, local mode",
    "any4": "PostgreSQL, six receivers, ANY 4",
    "fsync": "PostgreSQL, fsync, one copy",
}
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


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def render_results(results: Results) -> str:
    """Give the tables of what was measured."""
    clients = sorted(int(key.split(".")[1][1:]) for key in results if key.endswith(".vs_any4"))
    rows = []
    for name, title in _CONFIGURATIONS.items():
        cells = [f"{results[f'tpcb.c{c}.{name}.{what}']:g}" for c in clients for what in ("tps", "latency_ms")]
        rows.append((title, *cells))
    for baseline in ("any4", "fsync"):
        cells = [_ratio(results, f"tpcb.c{c}.vs_{baseline}") for c in clients]
        rows.append((f"**Borealis / {baseline}**", *(cell for each in cells for cell in (each, ""))))
    plural = {1: "1 client"}
    head = ("configuration", *(h for c in clients for h in (f"{plural.get(c, f'{c} clients')}: tps", "latency, ms")))
    return _caveat(results) + _table(head, rows) + _table(("what", "figure"), _others(results))


def _caveat(results: Results) -> str:
    """Say it where the figures stand if they are of little worth."""
    reasons = []
    if results.get("run.mode") != "full":
        reasons.append("from a quick run")
    if (share := float(results.get("machine.busy_before", 0))) > QUIET_BUSY:
        reasons.append(f"from a machine of which other work used {share:.0%}")
    return f"\n**Not to be quoted**: these figures are {' and '.join(reasons)}.\n" if reasons else ""


def _ratio(results: Results, key: str) -> str:
    return f"**{results[key]:g}** ({results[f'{key}.min']:g} to {results[f'{key}.max']:g})"


def _others(results: Results) -> list[tuple[str, ...]]:
    known = (
        ("failover.sigkill.median_s", "failover after SIGKILL of the writer's PostgreSQL, median, s"),
        ("failover.sigkill.max_s", "the same, slowest, s"),
        ("failover.kills", "kills"),
        ("reader.ready_s", "one reader more until it serves, s"),
        ("lag.p50_ms", "commit to visible on a reader, median, ms"),
        ("lag.p99_ms", "the same, 99th percentile, ms"),
    )
    return [(title, f"{results[key]:g}") for key, title in known if key in results]


def render_stages(results: Results) -> str:
    """Give where the microseconds of a commit go."""
    rows = [(key.partition(".")[2], f"{value:g}") for key, value in results.items() if key.startswith("stages.")]
    return _table(("stage of a commit, 1 client", "median, µs"), rows)


def render_settings(results: Results) -> str:
    """Give the settings that differ."""
    rows = []
    for key, value in results.items():
        if key.startswith("settings."):
            shown, _, reason = str(value).partition(": ")
            rows.append((f"`{key.partition('.')[2]}`", shown, reason))
    return _table(("setting", "values", "why"), rows)


def render_machine(results: Results) -> str:
    """Give what the figures were taken on."""
    rows = [
        (key.partition(".")[2], str(value)) for key, value in results.items() if key.startswith(("machine.", "run."))
    ]
    return _table(("machine and run", ""), rows)


_RENDER: Final = {
    "results": render_results,
    "stages": render_stages,
    "settings": render_settings,
    "machine": render_machine,
}
