"""`borealis ledger run|check`: load with a memory, and the judgement on it."""

import asyncio
import json
import signal
import sys
import time
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import psycopg
import typer

from borealis_local.ledger import clients
from borealis_local.ledger.audit import Audit, audit
from borealis_local.ledger.book import BookWriter, Entry, Outcome, Summary, read_book, summarise

T = TypeVar("T")
PATIENCE_S: Final = 30.0  # for the endpoint to answer

app = typer.Typer(
    no_args_is_help=True,
    help="Write numbered rows through an endpoint, and prove afterwards that no acknowledged one is lost.",
)

Url = Annotated[str, typer.Option("--url", envvar="DATABASE_URL", help="PostgreSQL connection URI.")]
Book = Annotated[Path, typer.Option("--book", help="File of outcomes, one JSON line for each commit.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command(epilog="Example: borealis ledger run --url $DATABASE_URL --book ledger.jsonl --seconds 30")
def run(
    url: Url,
    book: Book,
    clients_: Annotated[int, typer.Option("--clients", min=1, max=500, help="Connections.")] = 4,
    seconds: Annotated[float, typer.Option(help="How long; 0: until SIGTERM or Ctrl-C.")] = 0,
    deadline: Annotated[float, typer.Option(help="Seconds that one commit may take.")] = 5,
    json_: Json = False,
) -> None:
    """Insert rows until told to stop, writing the outcome of each commit to the book."""
    if book.exists():
        raise typer.BadParameter(f"{book} exists: name a new file, or remove it", param_hint="--book")
    _told(_run(url, book, clients_, seconds, deadline))
    _, entries = _read(book)
    _print_summary(summarise(entries), json_=json_)


@app.command(epilog="Example: borealis ledger check --url $DATABASE_URL --book ledger.jsonl")
def check(url: Url, book: Book, json_: Json = False) -> None:
    """Prove that every acknowledged row is there exactly once; exit 1 if not."""
    run_id, entries = _read(book)
    result = audit(entries, _told(clients.rows(url, run_id, patience=PATIENCE_S)))
    _print_audit(summarise(entries), result, json_=json_)
    if not result.ok:
        raise typer.Exit(1)


def _read(book: Path) -> tuple[str, list[Entry]]:
    try:
        return read_book(book)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--book") from error


def _told(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; a database that cannot be reached is one line and exit code 2."""
    try:
        return asyncio.run(work)
    except psycopg.Error as error:
        typer.echo(f"borealis ledger: {str(error).strip()}", err=True)
        raise typer.Exit(2) from error


async def _run(url: str, book: Path, count: int, seconds: float, deadline: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await clients.prepare(url, patience=PATIENCE_S)
    run_id, seen = uuid.uuid4().hex, {outcome: 0 for outcome in Outcome}
    writer = BookWriter(book, run_id)

    def write(entry: Entry) -> None:
        seen[entry.outcome] += 1
        writer.write(entry)

    try:
        async with asyncio.TaskGroup() as tasks:
            for first in range(count):
                client = clients.Client(url=url, run=run_id, first=first, step=count, deadline=deadline, write=write)
                tasks.create_task(client.work(stop))
            await _progress(stop, seen, seconds)
    finally:
        writer.close()


async def _progress(stop: asyncio.Event, seen: dict[Outcome, int], seconds: float) -> None:
    end = time.monotonic() + seconds if seconds else float("inf")
    stopped = asyncio.ensure_future(stop.wait())
    while not stop.is_set():
        left = end - time.monotonic()
        await asyncio.wait({stopped}, timeout=max(0.0, min(2.0, left)))
        print(" ".join(f"{outcome.value}={count}" for outcome, count in seen.items()), file=sys.stderr)  # noqa: T201
        if time.monotonic() >= end:
            stop.set()


def _print_summary(summary: Summary, *, json_: bool) -> None:
    figures = {
        "acked": summary.acked,
        "unknown": summary.unknown,
        "refused": summary.refused,
        "longest_gap": round(summary.longest_gap, 3),
    }
    if json_:
        typer.echo(json.dumps({**figures, "errors": dict(summary.errors)}))
        return
    typer.echo(" ".join(f"{key}={value}" for key, value in figures.items()))
    for error, count in summary.errors:
        typer.echo(f"  {count} x {error}")


def _print_audit(summary: Summary, result: Audit, *, json_: bool) -> None:
    figures = {
        "acked": summary.acked,
        "lost": len(result.lost),
        "doubled": len(result.doubled),
        "risen": len(result.risen),
        "unknown_present": len(result.unknown_present),
        "unknown_absent": len(result.unknown_absent),
        "longest_gap": round(summary.longest_gap, 3),
    }
    if json_:
        ids = {
            name: list(getattr(result, name))
            for name in ("lost", "doubled", "risen", "unknown_present", "unknown_absent")
        }
        typer.echo(json.dumps({**figures, "ids": ids}))
        return
    typer.echo(" ".join(f"{key}={value}" for key, value in figures.items()))
    for name in ("lost", "doubled", "risen", "unknown_present", "unknown_absent"):
        if getattr(result, name):
            typer.echo(f"  {name}: {', '.join(map(str, getattr(result, name)))}")
