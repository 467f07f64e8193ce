"""docs/metrics.md tells of every metric that there is, and of no other."""

import re

from tests.observability import Known, known
from tests.repository import ROOT

ROW = re.compile(r"^\| `(borealis_\w+)` \|(.*)\|$", re.MULTILINE)


def rows() -> list[list[str]]:
    """Give the page's rows: name, type, labels, meaning, what is normal."""
    found = ROW.findall((ROOT / "docs" / "metrics.md").read_text())
    return [[name, *(cell.strip() for cell in rest.split("|"))] for name, rest in found]


def test_the_page_tells_of_every_metric_and_of_no_other() -> None:
    told = {
        name: Known(type=kind, labels=frozenset(label.strip() for label in labels.split(",") if label.strip()))
        for name, kind, labels, _, _ in rows()
    }
    assert told == dict(known())


def test_no_metric_is_told_twice_or_without_meaning() -> None:
    names = [row[0] for row in rows()]
    assert len(names) == len(set(names))
    assert [row[0] for row in rows() if not row[3].strip()] == []


def test_names_say_whose_they_are_and_in_what_unit() -> None:
    vague = [n for n, metric in known().items() if metric.type == "counter" and not n.endswith("_total")]
    timed = [n for n, metric in known().items() if metric.type == "histogram" and not n.endswith("_seconds")]
    assert vague + timed == []
