"""Counts in how many schedules each mutant is caught: `python -m borealis_engine.core.testing.mutation --help`."""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from borealis_engine.core.testing.mutants import MUTANTS
from borealis_engine.core.testing.sim import attempt


def caught(number: int, seeds: int) -> tuple[int, int | None]:
    """Run `seeds` schedules with a mutant: in how many it is caught, and the first of them."""
    with MUTANTS[number].alive():
        found = [seed for seed in range(seeds) if attempt(seed)[2]]
    return len(found), found[0] if found else None


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; the exit code is 0 if every mutant was caught."""
    options = _parse(argv)
    numbers = range(len(MUTANTS))
    with ProcessPoolExecutor(options.jobs) as pool:
        results = pool.map(caught, numbers, [options.seeds] * len(MUTANTS))
        missed = 0
        for mutant, (count, first) in zip(MUTANTS, results, strict=True):
            missed += not count
            told = f"caught in {count:4d} of {options.seeds} seeds, first {first}" if count else "NOT CAUGHT"
            print(f"{told:40s}  {mutant.name}", flush=True)  # noqa: T201
    print(f"mutants: {len(MUTANTS) - missed} of {len(MUTANTS)} caught")  # noqa: T201
    return 1 if missed else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mutants",
        description="Puts one known bug at a time into the core and counts the simulated schedules that catch it.",
        epilog="example: python -m borealis_engine.core.testing.mutation --seeds 300",
    )
    parser.add_argument("--seeds", type=int, default=300, help="schedules for each mutant (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
