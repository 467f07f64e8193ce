"""Runs many schedules on all cores, or one with its trace: `python -m borealis_engine.core.testing.sim --help`."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from operator import add

from borealis_engine.core.testing.world import Totals, run

SHOWN = ("elections", "truncations", "crashes", "acked_bytes")


def attempt(seed: int) -> tuple[int, Totals, str]:
    """Run one schedule: (seed, totals, what went wrong or empty)."""
    try:
        return seed, run(seed), ""
    except Exception as error:  # noqa: BLE001 - whatever a schedule raises is its finding
        place = traceback.extract_tb(error.__traceback__)[-1]
        return seed, Totals(), f"{type(error).__name__}: {error} ({place.name}:{place.lineno})"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; the exit code is 0 if every schedule kept the rules and they were worth something together."""
    options = _parse(argv)
    if options.seed is not None:
        print(run(options.seed, trace=True))  # noqa: T201
        return 0
    began = time.monotonic()
    totals, failures = _run_all(range(options.first, options.first + options.seeds), options.jobs)
    for seed, failure in failures[:20]:
        print(f"seed {seed}: {failure}", file=sys.stderr)  # noqa: T201
    shown = " ".join(f"{name}={getattr(totals, name)}" for name in SHOWN)
    spent = time.monotonic() - began
    print(  # noqa: T201
        f"sim: {options.seeds} seeds in {spent:.0f} s: {shown} fed_bytes={totals.fed_bytes} "
        f"committed={totals.committed} failures={len(failures)}"
    )
    if failures:
        print(f"sim: see one with SEED={failures[0][0]}", file=sys.stderr)  # noqa: T201
    idle = [name for name in SHOWN if not getattr(totals, name)]
    if idle:
        print(f"sim: nothing was tried: {', '.join(idle)}", file=sys.stderr)  # noqa: T201
    return 1 if failures or idle or totals.committed * 2 < options.seeds else 0


def _run_all(seeds: range, jobs: int) -> tuple[Totals, list[tuple[int, str]]]:
    if jobs == 1:
        results = [attempt(seed) for seed in seeds]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            results = list(pool.map(attempt, seeds, chunksize=10))
    totals = reduce(add, (totals for _, totals, _ in results), Totals())
    return totals, [(seed, failure) for seed, _, failure in results if failure]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sim",
        description="Seeded simulation of the log protocol: elections, recovery, faults, and the oracle over them.",
        epilog="example: python -m borealis_engine.core.testing.sim --seeds 2000",
    )
    parser.add_argument("--seeds", type=int, default=2000, help="how many schedules (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (default %(default)s)")
    parser.add_argument("--seed", type=int, help="run only this one, with a trace")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
