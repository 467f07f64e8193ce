"""pgbench on all configurations, interleaved, so that a machine whose speed drifts slows all of them alike.

What counts is the ratio within a round: the figures of one round lie seconds apart. The order of the configurations
changes from round to round. Latency of commits and processor time come from the same runs.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.pgbench import SIMPLE, TPCB, Database, Measured, PgBench, percentile
from benchmarks.usage import Meter

Say = Callable[[str], None]
BOREALIS: Final = "borealis"
BASELINES: Final = ("any4", "fsync", "nofsync")
SCRIPTS: Final[Mapping[str, Sequence[str]]] = {"tpcb": TPCB, "simple": SIMPLE}
CLOSELY: Final = (1, 16)  # clients for which latency and processor time are told, of TPC-B
PERCENTILES: Final = (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement: what pgbench says, and the seconds that each group of processes used."""

    measured: Measured
    used: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A configuration: where its database is, and the processes that are its own with all beneath them."""

    database: Database
    roots: tuple[int, ...] = ()


Rounds = Mapping[int, Mapping[str, Sequence[Sample]]]  # clients -> configuration -> one sample a round


def order(names: Sequence[str], number: int) -> list[str]:
    """Give the order of a round: each one begins with another configuration."""
    turn = number % len(names)
    return [*names[turn:], *names[:turn]]


def measure(
    bench: PgBench, targets: Mapping[str, Target], *, clients: Sequence[int], rounds: int, seconds: float, say: Say,
) -> dict[str, Rounds]:  # fmt: skip
    """Give for each script a sample of each configuration, number of clients and round."""
    found: dict[str, dict[int, dict[str, list[Sample]]]] = {
        script: {count: {name: [] for name in targets} for count in clients} for script in SCRIPTS
    }
    for number in range(rounds):
        for script, rows in found.items():
            for count, row in rows.items():
                for name in order(list(targets), number):
                    row[name].append(_sample(bench, targets[name], script, count, seconds))
                last = ", ".join(f"{name} {samples[-1].measured.tps:.0f}" for name, samples in row.items())
                say(f"round {number + 1}/{rounds}, {script}, {count} client{'s' if count > 1 else ''}: {last} tps")
    return {script: rows for script, rows in found.items()}


def _sample(bench: PgBench, target: Target, script: str, clients: int, seconds: float) -> Sample:
    meter = Meter(target.roots)
    measured = bench.measure(target.database, clients=clients, seconds=seconds, script=SCRIPTS[script])
    return Sample(measured=measured, used=meter.read())


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Give the median of the ratios round by round; above 1 is faster."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def spread(key: str, ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Give the median of the rounds' ratios under `key`, with the smallest and the largest."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        key: round(ratio(ours, theirs), 3),
        f"{key}.min": round(min(each), 3),
        f"{key}.max": round(max(each), 3),
    }  # fmt: skip


def summarise(found: Rounds, script: str = "tpcb") -> dict[str, float]:
    """Give what goes into the results: ratios, and the medians of the absolute figures."""
    summary: dict[str, float] = {}
    for count, samples in found.items():
        rates = {name: [each.measured.tps for each in row] for name, row in samples.items()}
        for baseline in BASELINES:
            if baseline in rates:
                summary |= spread(f"{script}.c{count}.vs_{baseline}", rates[BOREALIS], rates[baseline])
        for name, row in samples.items():
            key, latencies = f"{script}.c{count}.{name}", [each.measured.latency_ms for each in row]
            summary[f"{key}.tps"] = round(statistics.median(rates[name]), 1)
            summary[f"{key}.latency_ms"] = round(statistics.median(latencies), 3)
    return summary


def latencies(found: Rounds) -> dict[str, float]:
    """Give the percentiles over the transactions of all rounds, and the median of the rounds' ratios of p99."""
    summary: dict[str, float] = {}
    for count, samples in _closely(found):
        for name, row in samples.items():
            pooled = [each for sample in row for each in sample.measured.latencies]
            for what, share in PERCENTILES:
                summary[f"latency.c{count}.{name}.{what}"] = round(percentile(pooled, share), 3)
        worst = {n: [percentile(s.measured.latencies, 0.99) for s in row] for n, row in samples.items()}
        if "any4" in worst:
            summary |= spread(f"latency.c{count}.p99_ratio", worst[BOREALIS], worst["any4"])
    return summary


def processor(found: Rounds) -> dict[str, float]:
    """Give the seconds of processor time per 1,000 commits of each group of processes, over all rounds."""
    summary: dict[str, float] = {}
    for count, samples in _closely(found):
        for name, row in samples.items():
            commits = sum(sample.measured.transactions for sample in row) / 1000
            for group in dict.fromkeys(group for sample in row for group in sample.used):
                seconds = sum(sample.used.get(group, 0.0) for sample in row)
                summary[f"cpu.c{count}.{name}.{group.replace(' ', '_')}_s"] = round(seconds / commits, 3)
            every = sum(sum(sample.used.values()) for sample in row)
            summary[f"cpu.c{count}.{name}.all_s"] = round(every / commits, 3)
    return summary


def _closely(found: Rounds) -> Iterator[tuple[int, Mapping[str, Sequence[Sample]]]]:
    return ((count, samples) for count, samples in found.items() if count in CLOSELY)
