"""Runs one schedule, and finds a smaller one that fails in the same way (delta debugging)."""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace

from borealis_engine.core.testing.plan import Plan
from borealis_engine.core.testing.world import Totals, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a schedule went."""

    plan: Plan
    totals: Totals  # all 0 if a rule was broken
    failure: str = ""  # what went wrong, and where it was found; empty if nothing did
    rule: str = ""  # the one that was broken
    at: float = 0.0  # seconds of the world's time at the end
    faults: tuple[int, ...] = ()  # numbers of those that happened


def attempt(plan: Plan, *, trace: bool = False) -> Outcome:
    """Run one schedule to its end or first violation."""
    world = World(plan, trace=trace)
    totals, failure, rule = Totals(), "", ""
    try:
        totals = world.run()
    except Exception as error:  # noqa: BLE001 - whatever a schedule raises is its finding
        place = traceback.extract_tb(error.__traceback__)[-1]
        rule = f"{type(error).__name__}: {str(error).split(':', 1)[0]}"
        failure = f"{type(error).__name__}: {error} ({place.name}:{place.lineno})"
    faults, at = tuple(world.faults.happened), world.clockwork.now
    return Outcome(plan=plan, totals=totals, failure=failure, rule=rule, at=at, faults=faults)


def shrink(failed: Outcome) -> Outcome:
    """Give a schedule of the same seed that breaks the same rule after fewer faults and no later.

    A fault left out changes what follows, so this may end with more faults than are needed; it is deterministic.
    """
    smaller: Outcome | None = failed
    while smaller is not None:
        failed = smaller
        trials = (attempt(plan) for plan in _smaller(failed))
        smaller = next((o for o in trials if o.rule == failed.rule and _size(o) < _size(failed)), None)
    return failed


def _smaller(failed: Outcome) -> Iterator[Plan]:
    """Plans without halves, quarters and so on of the faults that happened, and ones that end earlier."""
    plan, size = failed.plan, len(failed.faults)
    while size > 0:
        for start in range(0, len(failed.faults), size):
            yield replace(plan, without=plan.without | set(failed.faults[start : start + size]))
        size //= 2
    for share in (0.25, 0.5, 0.75, 0.9):
        yield replace(plan, until=round(plan.until * share, 2))


def _size(outcome: Outcome) -> tuple[int, float, float]:
    return len(outcome.faults), round(outcome.at, 4), outcome.plan.until
