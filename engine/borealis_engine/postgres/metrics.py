"""An instance's status and counts as Prometheus metrics, rendered when they are scraped.

The invariant: names are stable, and every label has a fixed set of values.
"""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from borealis_engine.contract.status import InstanceStatus, Role
from borealis_engine.core.slowness import Standing
from borealis_engine.net.door import Drop
from borealis_engine.postgres.census import OTHER, STATES
from borealis_engine.postgres.errors import Cause
from borealis_engine.postgres.latency import BOUNDS_S, Latency
from borealis_engine.postgres.tally import Tally

GAUGES = {
    "epoch": "Epoch owned or followed, which is PostgreSQL's timeline.",
    "receive_lsn": "End of the log received, in bytes.",
    "replay_lsn": "End of the log replayed, in bytes.",
    "durable_lsn": "D as known here, in bytes.",
    "lag_seconds": "Age of the oldest durable byte that is not replayed; absent while unknown, and on a writer.",
    "ready": "1 if clients are served in the role.",
    "tls": "1 if clients can connect by TLS.",
}


class InstanceCollector(Collector):
    """Reads status and counts at each scrape."""

    def __init__(
        self, status: Callable[[], InstanceStatus], tally: Tally, standings: Callable[[], Sequence[Standing]]
    ) -> None:
        self._status, self._tally, self._standings = status, tally, standings

    def collect(self) -> Iterator[Metric]:
        """Give everything."""
        yield from _of_status(self._status())
        yield from _of_tally(self._tally)
        yield from _of_members(self._standings())


def make_registry(
    status: Callable[[], InstanceStatus], tally: Tally, standings: Callable[[], Sequence[Standing]] = tuple
) -> CollectorRegistry:
    """Give a registry of its own."""
    registry = CollectorRegistry()
    registry.register(InstanceCollector(status, tally, standings))
    return registry


def _of_status(status: InstanceStatus) -> Iterator[Metric]:
    for name, text in GAUGES.items():
        value = getattr(status, name)
        yield _gauge(name, text, None if value is None else float(value))
    yield _gauge("refused_parameters", "Parameters that PostgreSQL does not take.", len(status.refused))
    yield _gauge("pending_restart", "Parameters that wait for a restart of PostgreSQL.", len(status.pending_restart))
    roles = GaugeMetricFamily("borealis_instance_role", "1 for the role that the instance has.", labels=["role"])
    for role in Role:
        roles.add_metric([role.value], float(role is status.role))
    yield roles


def _of_tally(tally: Tally) -> Iterator[Metric]:
    yield _counter("attachments", "PostgreSQL came up on a fresh directory.", tally.attachments)
    yield _counter("promotions", "Reigns begun by this process.", tally.promotions)
    yield _counter("log_bytes", "Bytes of log given to the volume as the writer.", tally.latency.bytes)
    ended = CounterMetricFamily("borealis_instance_reigns_ended", "Reigns ended, by cause.", labels=["cause"])
    for cause in Cause:
        ended.add_metric([cause.value], tally.reigns_ended[cause])
    yield ended
    dropped = CounterMetricFamily(
        "borealis_instance_connections_dropped",
        "Connections to the agent's ports that were dropped, most of them without a certificate.",
        labels=["reason"],
    )
    for reason in Drop:
        dropped.add_metric([reason.value], tally.dropped[reason])
    yield dropped
    states = GaugeMetricFamily("borealis_instance_connections", "Clients by state of session.", labels=["state"])
    for state in (*STATES.values(), OTHER):
        states.add_metric([state], tally.connections.get(state, 0))
    yield states
    yield _gauge("commits_waiting", "Sessions whose commit waits for the volume.", tally.commits_waiting)
    yield _histogram(tally.latency)


def _of_members(standings: Sequence[Standing]) -> Iterator[Metric]:
    """Give a series for each place in the volume's configuration, of which there are six."""
    unanswered = GaugeMetricFamily(
        "borealis_instance_member_unanswered_seconds",
        "Age of the oldest message that a member of the volume has not answered; told by the writer.",
        labels=["member"],
    )
    behind = GaugeMetricFamily(
        "borealis_instance_member_behind_bytes",
        "Log that a member of the volume has not acknowledged; told by the writer.",
        labels=["member"],
    )
    for number, each in enumerate(standings):
        unanswered.add_metric([str(number)], each.unanswered)
        if each.behind is not None:
            behind.add_metric([str(number)], each.behind)
    yield unanswered
    yield behind


def _histogram(latency: Latency) -> Metric:
    text = "Seconds from a piece of log being offered to the volume until a quorum holds it."
    total, buckets = 0, []
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), latency.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily("borealis_instance_commit_seconds", text, buckets=buckets, sum_value=latency.seconds)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """Give a gauge; one without a value is described and has no sample."""
    return GaugeMetricFamily(f"borealis_instance_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"borealis_instance_{name}", text, value=value)
