"""`python -m benchmarks`: everything that `make bench` measures, and the page that shows it.

The figures go to benchmarks/results/latest.json, or where --output says; `--render` makes the page anew from there.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from borealis_engine.postgres.account import choose_account, require_reachable
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import PostgresError

from benchmarks import machine, results
from benchmarks.plan import FULL, PARTS, QUICK, Plan
from benchmarks.processes import BenchmarkFailed

PLACE: Final = Path("/var/tmp")  # on a disk, unlike /tmp on many machines


class Progress:
    """Lines on stderr with the seconds since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self, text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - self.began:6.1f}s] {text}\n")
        sys.stderr.flush()


def main() -> None:
    """Run what the command line asks for; exit status 1 if it could not be measured, 130 after Ctrl-C."""
    given = _arguments()
    if given.render:
        _render()
        return
    signal.signal(signal.SIGTERM, _interrupted)
    say = Progress()
    try:
        found = _measure(given, say)
    except (BenchmarkFailed, PostgresError) as failure:
        sys.exit(f"benchmarks: {failure}")
    except KeyboardInterrupt:
        sys.stderr.write("benchmarks: interrupted; everything that was started has ended\n")
        sys.exit(130)
    results.write(found, given.output)
    if given.output.resolve() == results.LATEST and set(given.parts) == set(PARTS):
        _render()
    say(f"written to {given.output}")


def _measure(given: argparse.Namespace, say: Progress) -> results.Results:
    machine.require_disk(given.directory)
    binaries, account = find_binaries(os.environ), choose_account()
    with _scratch(given.directory) as scratch:
        require_reachable(scratch / "any", account, "--directory")
        around = machine.describe(scratch, binaries)
        machine.warn_if_busy(float(around["machine.busy_before"]), say)
        size = QUICK if given.quick else FULL
        plan = Plan(size=size, scratch=scratch, binaries=binaries, account=account, say=say)
        found = plan.measure(given.parts)
    run = {
        "run.mode": "quick" if given.quick else "full",
        "run.date": f"{datetime.now(UTC):%Y-%m-%d}",
        "run.scale": size.scale,
        "run.rounds": size.rounds,
        "run.seconds_each": size.seconds,
        "run.took_s": round(time.monotonic() - say.began),
        "run.load_after": round(os.getloadavg()[0], 2),
    }
    return {**found, **around, **run}


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """Hold a directory of this run's own, which PostgreSQL's account may enter."""
    scratch = Path(tempfile.mkdtemp(prefix="borealis-bench-", dir=directory))
    scratch.chmod(0o755)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _render() -> None:
    page = results.PAGE.read_text()
    results.PAGE.write_text(results.render_page(page, results.read()))


def _interrupted(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="below 3 minutes, for a first impression")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--directory", type=Path, default=PLACE, help=f"on the disk to measure (default {PLACE})")
    parser.add_argument("--output", type=Path, default=results.LATEST, help="default: benchmarks/results/latest.json")
    parser.add_argument("--render", action="store_true", help="only make docs/performance.md anew")
    return parser.parse_args()


if __name__ == "__main__":
    main()
