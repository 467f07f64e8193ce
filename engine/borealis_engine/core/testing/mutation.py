"""Counts in how many schedules each mutant is caught: `python -m borealis_engine.core.testing.mutation --help`."""

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

from borealis_engine.core.testing.attempt import attempt
from borealis_engine.core.testing.mutants import MUTANTS
from borealis_engine.core.testing.plan import Plan
from borealis_engine.core.testing.scripts import SCRIPTS
from borealis_engine.core.testing.sim import parser, spread

SCRIPTED: Final = 4  # seeds of each script


def caught(seeds: range, number: int) -> list[Plan]:
    """Run schedules with a mutant: those that catch it."""
    plans = [Plan(seed=seed) for seed in seeds]
    plans += [Plan(seed=seed, script=script) for script in SCRIPTS for seed in range(SCRIPTED)]
    with MUTANTS[number].alive():
        return [plan for plan in plans if attempt(plan).failure]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; the exit code is 0 if every mutant was caught."""
    about = "Puts one known bug at a time into the core and counts the simulated schedules that catch it."
    options = parser("mutants", about, seeds=300).parse_args(argv)
    seeds = range(options.first, options.first + options.seeds)
    missed = 0
    results = spread(partial(caught, seeds), range(len(MUTANTS)), options.jobs)
    for mutant, plans in zip(MUTANTS, results, strict=True):
        missed += not plans
        print(f"{_told(plans):32s}  {mutant.name}{_scripts(plans)}", flush=True)  # noqa: T201
    print(f"mutants: {len(MUTANTS) - missed} of {len(MUTANTS)} caught, of {len(seeds)} seeds each")  # noqa: T201
    return 1 if missed else 0


def _told(plans: list[Plan]) -> str:
    seeds = [plan.seed for plan in plans if not plan.script]
    if seeds:
        return f"caught by {len(seeds):4d} seeds, first {seeds[0]}"
    return "caught by no seed" if plans else "NOT CAUGHT"


def _scripts(plans: list[Plan]) -> str:
    counts = Counter(plan.script for plan in plans if plan.script)
    told = ", ".join(f"{script} ({count} of {SCRIPTED})" for script, count in counts.items())
    return f"; by script: {told}" if told else ""


if __name__ == "__main__":
    sys.exit(main())
