"""TPC-B on all configurations, interleaved, so that a machine whose speed drifts slows all of them alike.

What counts is the ratio within a round: the figures of one round lie seconds apart. The order of the configurations
changes from round to round.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks.pgbench import Database, Measured, PgBench

Say = Callable[[str], None]
Rounds = Mapping[int, Mapping[str, Sequence[Measured]]]  # clients -> configuration -> one figure a round
BOREALIS: Final = "borealis"
BASELINES: Final = ("any4", "fsync")


def order(names: Sequence[str], number: int) -> list[str]:
    """Give the order of a round: each one begins with another configuration."""
    turn = number % len(names)
    return [*names[turn:], *names[:turn]]


def measure(
    bench: PgBench,
    databases: Mapping[str, Database],
    *,
    clients: Sequence[int],
    rounds: int,
    seconds: float,
    say: Say,
) -> Rounds:
    """Give a figure of each configuration for each number of clients and each round."""
    found: dict[int, dict[str, list[Measured]]] = {c: {name: [] for name in databases} for c in clients}
    for number in range(rounds):
        for count in clients:
            for name in order(list(databases), number):
                got = bench.measure(databases[name], clients=count, seconds=seconds)
                found[count][name].append(got)
            last = ", ".join(f"{name} {figures[-1].tps:.0f}" for name, figures in found[count].items())
            say(f"round {number + 1}/{rounds}, {count} client{'s' if count > 1 else ''}: {last} tps")
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Give the median of the ratios round by round; above 1 is faster."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def summarise(found: Rounds) -> dict[str, float]:
    """Give what goes into the results: ratios, and the medians of the absolute figures."""
    summary: dict[str, float] = {}
    for count, figures in found.items():
        rates = {name: [each.tps for each in row] for name, row in figures.items()}
        for baseline in BASELINES:
            if baseline in rates:
                summary[f"tpcb.c{count}.vs_{baseline}"] = round(ratio(rates[BOREALIS], rates[baseline]), 3)
                each = [a / b for a, b in zip(rates[BOREALIS], rates[baseline], strict=True)]
                summary[f"tpcb.c{count}.vs_{baseline}.min"] = round(min(each), 3)
                summary[f"tpcb.c{count}.vs_{baseline}.max"] = round(max(each), 3)
        for name, row in figures.items():
            summary[f"tpcb.c{count}.{name}.tps"] = round(statistics.median(each.tps for each in row), 1)
            summary[f"tpcb.c{count}.{name}.latency_ms"] = round(statistics.median(each.latency_ms for each in row), 3)
    return summary
