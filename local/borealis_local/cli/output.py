"""What commands print: live on a terminal, plain lines in a pipe; errors on stderr."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
import yaml
from rich.console import Console
from rich.status import Status
from rich.table import Table

from borealis_local.errors import CommandError, LocalError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a line."""
    out.print(text, markup=False)


class Progress:
    """A line that changes on a terminal; in a pipe, a line for each change."""

    def __init__(self, status: Status | None) -> None:
        """Show progress in a rich status, or in plain lines."""
        self._status, self._last, self._began = status, "", time.monotonic()

    def update(self, text: str) -> None:
        """Show how far it is."""
        if text == self._last:
            return
        self._last = text
        if self._status is not None:
            self._status.update(text)
        else:
            say(f"[{time.monotonic() - self._began:5.1f}s] {text}")


@contextmanager
def progress(first: str) -> Iterator[Progress]:
    """Show progress until the block ends."""
    if not out.is_terminal:
        shown = Progress(None)
        shown.update(first)
        yield shown
        return
    with out.status(first) as status:
        yield Progress(status)


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn errors of local mode into a line on stderr and exit code 1."""
    try:
        yield
    except LocalError as error:
        err.print(f"borealis: {error}", markup=False)
        raise typer.Exit(1) from error


def show(obj: Mapping[str, Any] | Sequence[Any], form: str) -> None:
    """Print an object as JSON or YAML."""
    if form == "json":
        text = json.dumps(obj, indent=2)
    elif form == "yaml":
        text = yaml.safe_dump(obj, sort_keys=False).rstrip()
    else:
        raise CommandError(f"unknown output {form!r}: use json, yaml, name or wide")
    print(text)  # noqa: T201


def show_table(table: Mapping[str, Any], *, wide: bool) -> None:
    """Print a server-side table as kubectl does."""
    columns = table["columnDefinitions"]
    kept = [i for i, c in enumerate(columns) if wide or not c.get("priority")]
    header = [columns[i]["name"].upper() for i in kept]
    rows = [["" if r["cells"][i] is None else str(r["cells"][i]) for i in kept] for r in table["rows"]]
    columns_of(header, rows)


def columns_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header, aligned; styled on a terminal only."""
    if out.is_terminal:
        shown = Table(*header, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            shown.add_row(*row)
        out.print(shown)
        return
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        say("   ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
