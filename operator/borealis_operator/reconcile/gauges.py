"""Gauges of each DBCluster for `/metrics`: what its status says, and what the last pass counted.

They are made when they are scraped, from what was seen last, so that a series ends with its cluster and a condition
bears one reason at a time. There are as many series as clusters times a constant: no pod and no message is a label.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.fields import Raw, section
from borealis_operator.plan.deletion import DELETING
from borealis_operator.plan.measures import Measures
from borealis_operator.plan.status import AVAILABLE, CREATING, FAILING_OVER

PREFIX: Final = "borealis_operator_cluster_"
LABELS: Final = ("dbcluster_namespace", "dbcluster")
PHASES: Final = (CREATING, AVAILABLE, FAILING_OVER, DELETING)
GAUGES: Final[Mapping[str, str]] = {
    "epoch": "Epoch of the last writer known.",
    "readers_ready": "Readers in service.",
    "readers_wanted": "Readers that there should be.",
    "storage_members_current": "Storage nodes, of six, that hold all that they should; four are needed to commit.",
    "storage_replacing": "1 while a new storage node is on its way into the place of another one.",
    "storage_used_ratio": "Share of its room that the fullest storage node has used.",
    "reader_lag_seconds": "Age of the oldest durable byte that the slowest reader has not replayed.",
    "failover_seconds": "Seconds without a writer at the last change of writer that this operator saw.",
    "certificate_expiry_timestamp_seconds": "Time at which the first of the cluster's certificates ends.",
    "last_pass_timestamp_seconds": "Time at which the last pass that came to its end did so.",
}
Numbers = dict[str, float]


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What was seen last of one cluster, and of its last change of writer."""

    phase: str = ""
    conditions: dict[str, tuple[str, bool]] = field(default_factory=dict)  # type -> reason, holds
    numbers: Numbers = field(default_factory=dict)
    failovers: int = 0
    members: frozenset[str] = frozenset()  # identities
    replaced: int = 0
    down_since: float | None = None


class ClusterGauges(Collector):
    """All clusters of one operator. `clock` gives seconds that never jump."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[ClusterKey, _Seen] = {}

    def read(self, key: ClusterKey, raw: Raw) -> None:
        """Take over what the live DBCluster says of itself."""
        status, seen = section(raw, "status"), self._seen.setdefault(key, _Seen())
        before, epoch = seen.numbers.get("epoch", 0.0), float(status.get("epoch") or 0)
        seen.failovers += 1 if before and epoch > before else 0
        seen.phase = str(status.get("status") or CREATING)
        seen.conditions = {
            str(c["type"]): (str(c.get("reason", "")), c["status"] == "True") for c in status.get("conditions") or ()
        }
        seen.numbers |= {"epoch": epoch, "readers_ready": float(status.get("readers") or 0)}
        current, _, _ = str(status.get("storage") or "0").partition("/")
        seen.numbers["storage_members_current"] = float(current)
        seen.numbers["storage_replacing"] = float("StorageReplacement" in seen.conditions)
        members = frozenset(str(m.get("id")) for m in status.get("members") or ())
        seen.replaced += len(members - seen.members) if seen.members and members else 0
        seen.members = members or seen.members
        self._time_failover(seen, began=bool(before))

    def counted(self, key: ClusterKey, measures: Measures, *, expiry: float | None, now: float) -> None:
        """Take over what a pass counted that came to its end; `now` in seconds since 1970."""
        if seen := self._seen.get(key):
            told = {
                "readers_wanted": measures.readers_wanted,
                "reader_lag_seconds": measures.reader_lag_seconds,
                "storage_used_ratio": measures.storage_used_ratio,
                "certificate_expiry_timestamp_seconds": expiry,
                "last_pass_timestamp_seconds": now,
            }
            for name, value in told.items():
                seen.numbers.pop(name, None)
                if value is not None:
                    seen.numbers[name] = float(value)

    def forget(self, key: ClusterKey) -> None:
        """End the series of a cluster that is gone."""
        self._seen.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """Give all series; families without one are named too, so that all names are known from the start."""
        yield from self._states()
        counted: dict[str, tuple[str, Callable[[_Seen], int]]] = {
            "failovers": ("Changes of writer that this operator saw.", lambda seen: seen.failovers),
            "storage_replacements": ("Storage nodes whose place a new one took.", lambda seen: seen.replaced),
        }
        for name, (text, count) in counted.items():
            counter = CounterMetricFamily(PREFIX + name, text, labels=LABELS)
            for key, seen in self._seen.items():
                counter.add_metric(_of(key), count(seen))
            yield counter
        for name, text in GAUGES.items():
            family = GaugeMetricFamily(PREFIX + name, text, labels=LABELS)
            for key, seen in self._seen.items():
                if name in seen.numbers:
                    family.add_metric(_of(key), seen.numbers[name])
            yield family

    def _states(self) -> Iterator[Metric]:
        phases = GaugeMetricFamily(
            f"{PREFIX}phase", "1 for the phase that the cluster is in.", labels=[*LABELS, "phase"]
        )
        told = "1 if the condition is True, else 0; of each condition the reason that holds now."
        conditions = GaugeMetricFamily(f"{PREFIX}condition", told, labels=[*LABELS, "condition", "reason"])
        for key, seen in self._seen.items():
            for phase in PHASES:
                phases.add_metric([*_of(key), phase], float(phase == seen.phase))
            for kind, (reason, holds) in seen.conditions.items():
                conditions.add_metric([*_of(key), kind, reason], float(holds))
        yield phases
        yield conditions

    def _time_failover(self, seen: _Seen, *, began: bool) -> None:
        """Time from the first sight of no writer to the first of the next; one that began before is not timed."""
        _, writes = seen.conditions.get("WriterAvailable", ("", False))
        if not writes:
            seen.down_since = self._clock() if began and seen.down_since is None else seen.down_since
        elif seen.down_since is not None:
            seen.numbers["failover_seconds"] = self._clock() - seen.down_since
            seen.down_since = None


def _of(key: ClusterKey) -> list[str]:
    return [key.namespace, key.name]
