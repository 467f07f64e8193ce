"""Runs many schedules on all cores, or one with its trace: `python -m borealis_engine.core.testing.sim --help`.

Of one that fails a smaller one that fails is sought, and its trace is shown.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from operator import add
from typing import TypeVar

from borealis_engine.core.testing.attempt import Outcome, attempt, shrink
from borealis_engine.core.testing.plan import FAULTS_S, Plan, numbers
from borealis_engine.core.testing.world import Totals

T = TypeVar("T")
R = TypeVar("R")
SHOWN = ("elections", "truncations", "crashes", "replaced", "acked_bytes")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; the exit code is 0 if every schedule kept the rules and they were worth something together."""
    options = _parse(argv)
    if options.seed is None:
        return _many(range(options.first, options.first + options.seeds), options.jobs)
    plan = Plan(seed=options.seed, without=options.without, until=options.until)
    outcome = attempt(plan)
    if outcome.failure and plan == Plan(seed=plan.seed):
        outcome = shrink(outcome)
    return _show(outcome)


def _many(seeds: range, jobs: int) -> int:
    began = time.monotonic()
    outcomes = list(spread(attempt, (Plan(seed=seed) for seed in seeds), jobs, 10))
    spent = time.monotonic() - began
    totals, failures = reduce(add, (o.totals for o in outcomes), Totals()), [o for o in outcomes if o.failure]
    for failed in failures[:20]:
        print(f"{failed.plan}: {failed.failure}", file=sys.stderr)  # noqa: T201
    if failures:
        _show(shrink(failures[0]))
    shown = " ".join(f"{name}={getattr(totals, name)}" for name in SHOWN)
    print(  # noqa: T201
        f"sim: {len(seeds)} seeds in {spent:.0f} s: {shown} fed_bytes={totals.fed_bytes} "
        f"committed={totals.committed} failures={len(failures)}"
    )
    idle = [name for name in SHOWN if not getattr(totals, name)]
    if idle:
        print(f"sim: nothing was tried: {', '.join(idle)}", file=sys.stderr)  # noqa: T201
    return 1 if failures or idle or totals.committed * 2 < len(seeds) else 0


def spread(work: Callable[[T], R], items: Iterable[T], jobs: int, chunk: int = 1) -> Iterator[R]:
    """Do `work` on each item in so many processes; the results come in order."""
    if jobs == 1:
        yield from map(work, items)
    else:
        with ProcessPoolExecutor(jobs) as pool:
            yield from pool.map(work, items, chunksize=chunk)


def _show(outcome: Outcome) -> int:
    """Run it once more with a trace; the exit code is 0 if it kept the rules."""
    attempt(outcome.plan, trace=True)
    if not outcome.failure:
        print(outcome.totals)  # noqa: T201
        return 0
    print(outcome.failure)  # noqa: T201
    print(f"sim: {len(outcome.faults)} faults; again with: make sim {outcome.plan}", flush=True)  # noqa: T201
    return 1


def parser(prog: str, description: str, *, seeds: int) -> argparse.ArgumentParser:
    """Give the options that all commands over many schedules have."""
    options = argparse.ArgumentParser(prog=prog, description=description)
    options.add_argument("--seeds", type=int, default=seeds, help="how many schedules (default %(default)s)")
    options.add_argument("--first", type=int, default=0, help="number of the first one (default %(default)s)")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default %(default)s)")
    return options


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    about = "Seeded simulation of the log protocol: elections, recovery, faults, and the oracle over them."
    options = parser("sim", about, seeds=2000)
    options.add_argument("--seed", type=int, help="run only this one, with a trace; if it fails, a smaller one")
    options.add_argument("--without", type=numbers, default=frozenset(), help="faults of it to leave out, as 3-5,9")
    options.add_argument("--until", type=float, default=FAULTS_S, help="seconds of faults (default %(default)s)")
    return options.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
