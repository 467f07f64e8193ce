"""Each line of the programs' logs says of which cluster and node it is, and where in the log that node is."""

import json
import logging
from typing import Any

import pytest
from borealis_engine.main.logs import JsonLines


def render(extra: dict[str, object], *, where: tuple[int, int] = (0, 0), error: bool = False) -> dict[str, Any]:
    lines = JsonLines({"cluster": "demo", "node": "demo-instance-0"})
    lines.where = lambda: where
    try:
        raise ValueError("broken") if error else AssertionError
    except (ValueError, AssertionError) as caught:
        info = (type(caught), caught, caught.__traceback__) if error else None
    record = logging.LogRecord("any", logging.WARNING, __file__, 1, "said %s", ("this",), info)
    record.__dict__.update(extra)
    text = lines.format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    assert line.pop("time").endswith("+00:00")
    assert [line.pop(key) for key in ("level", "cluster", "node")] == ["warning", "demo", "demo-instance-0"]
    assert line.pop("message") == "said this"
    return line


@pytest.mark.parametrize(
    ("extra", "where", "expected"),
    [
        ({}, (0, 0), {}),
        ({}, (7, 0x1_0000_0010), {"epoch": 7, "lsn": "1/10"}),
        ({"epoch": 8}, (7, 0x20), {"epoch": 8, "lsn": "0/20"}),
        ({"lsn": 0x30}, (7, 0x20), {"epoch": 7, "lsn": "0/30"}),
        ({"lsn": "0/40", "peer": "m1"}, (0, 0), {"lsn": "0/40", "peer": "m1"}),
        ({"foreign": 1}, (0, 0), {}),
    ],
    ids=["nothing known", "where it is", "the record's epoch", "the record's LSN", "text", "no field of ours"],
)
def test_a_line_says_where(extra: dict[str, object], where: tuple[int, int], expected: dict[str, object]) -> None:
    assert render(extra, where=where) == expected


def test_an_error_comes_with_its_trace_on_the_same_line() -> None:
    assert "ValueError: broken" in render({}, error=True)["trace"]
