"""The instance's status as Prometheus metrics, rendered when they are scraped."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from borealis_engine.contract.status import InstanceStatus, Role

GAUGES = {
    "epoch": "epoch owned or followed, which is PostgreSQL's timeline",
    "receive_lsn": "end of the log received, in bytes",
    "replay_lsn": "end of the log replayed, in bytes",
    "durable_lsn": "D as known here, in bytes",
    "lag_seconds": "age of the oldest durable byte that is not replayed",
    "ready": "1 if clients are served in the role",
}


class StatusCollector(Collector):
    """Reads the status at each scrape."""

    def __init__(self, status: Callable[[], InstanceStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give one gauge for each number of the status, and one for each role."""
        status = self._status()
        for name, help_text in GAUGES.items():
            if (value := getattr(status, name)) is not None:
                yield GaugeMetricFamily(f"borealis_instance_{name}", help_text, value=float(value))
        roles = GaugeMetricFamily("borealis_instance_role", "1 for the role that the instance has", labels=["role"])
        for role in Role:
            roles.add_metric([role.value], float(role is status.role))
        yield roles


def make_registry(status: Callable[[], InstanceStatus]) -> CollectorRegistry:
    """Give a registry of its own."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    return registry
