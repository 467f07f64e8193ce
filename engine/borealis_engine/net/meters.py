"""What a storage node counts for Prometheus, and what it says of itself when it is scraped.

Names are stable, and every label has a fixed set of values.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from borealis_engine.contract.status import StorageState, StorageStatus
from borealis_engine.core.messages import Reason
from borealis_engine.net.door import Drop

PREFIX: Final = "borealis_storage_"
GAUGES: Final = {  # name: field of the status, meaning
    "flush_lsn": ("flush_lsn", "End of the durable log, in bytes."),
    "durable_lsn": ("durable_lsn", "D as known here, in bytes."),
    "promised_epoch": ("promised", "Highest epoch promised."),
    "epoch": ("epoch", "Last epoch whose entry is held."),
    "used_bytes": ("bytes_used", "Bytes that log and images take on the disk."),
    "free_bytes": ("bytes_free", "Bytes that are free on the disk."),
    "scrub_timestamp_seconds": ("scrubbed_at", "Time at which the last round over the whole disk ended; 0: none yet."),
    "damaged_files": ("damaged", "Files with damage that is not mended yet."),
}

SYNC_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter, which nobody asks for


class Meters(Collector):
    """Counters of one storage node in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._syncs = [0] * (len(SYNC_SECONDS) + 1)  # by bucket
        self._sync_seconds = 0.0
        self._bytes = 0
        self.corrupt = Counter(
            "borealis_storage_corrupt_reads", "Reads that found damaged bytes.", registry=self.registry
        )
        self._refused = Counter(
            "borealis_storage_refused", "Requests that this node refused.", ["reason"], registry=self.registry
        )
        for reason in Reason:
            self._refused.labels(reason.name.lower())
        self._pulled = Counter(
            "borealis_storage_pulled_bytes", "Bytes of log taken from other nodes to catch up.", registry=self.registry
        )
        self._scrubbed = Counter(
            "borealis_storage_scrubbed_bytes", "Bytes of the disk read and verified.", registry=self.registry
        )
        self._repaired = Counter(
            "borealis_storage_repaired", "Damaged places made good, mostly from other nodes.", registry=self.registry
        )
        self._dropped = Counter(
            "borealis_storage_connections_dropped",
            "Connections that were dropped, most of them without a certificate.",
            ["reason"],
            registry=self.registry,
        )
        for why in Drop:
            self._dropped.labels(why.value)
        self.registry.register(self)

    def synced(self, size: int, seconds: float) -> None:
        """Count one sync of `size` bytes of log; each commit comes by, so the sums are made when they are asked for."""
        self._syncs[bisect_left(SYNC_SECONDS, seconds)] += 1
        self._sync_seconds += seconds
        self._bytes += size

    def syncs(self, counts: Sequence[int], size: int, seconds: float) -> None:
        """Count many syncs, by bucket of SYNC_SECONDS."""
        for bucket, count in enumerate(counts[: len(self._syncs)]):
            self._syncs[bucket] += count
        self._sync_seconds += seconds
        self._bytes += size

    def refused(self, reason: Reason) -> None:
        """Count a request that was not done."""
        self._refused.labels(reason.name.lower()).inc()

    def dropped(self, reason: Drop) -> None:
        """Count a connection that was dropped."""
        self._dropped.labels(reason.value).inc()

    def pulled(self, size: int) -> None:
        """Count log that came from a peer."""
        self._pulled.inc(size)

    def scrubbed(self, size: int) -> None:
        """Count bytes of the disk that were read and verified."""
        self._scrubbed.inc(size)

    def repaired(self) -> None:
        """Count a damaged place that was made good."""
        self._repaired.inc()

    def watch(self, status: Callable[[], StorageStatus], stalled: Callable[[], float]) -> None:
        """Show what the node says of itself, and the seconds in which its process did not run, at each scrape."""
        self.registry.register(StatusCollector(status, stalled))

    def collect(self) -> Iterator[Metric]:
        """Give what `synced` counted."""
        syncs = HistogramMetricFamily(f"{PREFIX}sync_seconds", "Seconds of one write and sync of the journal.")
        bounds = [*(str(bound) for bound in SYNC_SECONDS), "+Inf"]
        syncs.add_metric([], list(zip(bounds, accumulate(self._syncs), strict=True)), self._sync_seconds)
        yield syncs
        yield CounterMetricFamily(f"{PREFIX}log_bytes", "Bytes of log made durable here.", value=self._bytes)


class StatusCollector(Collector):
    """Reads the status at each scrape."""

    def __init__(self, status: Callable[[], StorageStatus], stalled: Callable[[], float]) -> None:
        self._status, self._stalled = status, stalled

    def collect(self) -> Iterator[Metric]:
        """Give one gauge for each number of the status, and one for each state."""
        status = self._status()
        for name, (attribute, text) in GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, text, value=float(getattr(status, attribute)))
        out = status.state in (StorageState.DISK_LOST, StorageState.FAILED)
        yield GaugeMetricFamily(f"{PREFIX}in_service", "1 if the node takes part.", value=float(not out))
        text = "Seconds in which this process did not run although it wanted to."
        yield GaugeMetricFamily(f"{PREFIX}stalled_seconds", text, value=self._stalled())
        states = GaugeMetricFamily(f"{PREFIX}state", "1 for the state that the node is in.", labels=["state"])
        for state in StorageState:
            states.add_metric([state.value], float(state is status.state))
        yield states
