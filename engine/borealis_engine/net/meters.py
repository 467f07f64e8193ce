"""What a storage node counts for Prometheus."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from borealis_engine.core.journal import Logged, Record

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Meters:
    """Counters of one storage node in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._syncs = Histogram(
            "borealis_storage_sync_seconds",
            "Seconds of one write and sync of the journal.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._bytes = Counter("borealis_storage_log_bytes", "Bytes of log made durable here.", registry=self.registry)
        self.corrupt = Counter(
            "borealis_storage_corrupt_reads", "Reads that found damaged bytes.", registry=self.registry
        )

    def synced(self, records: Sequence[Record], seconds: float) -> None:
        """Count one sync."""
        self._syncs.observe(seconds)
        self._bytes.inc(sum(len(record.data) for record in records if isinstance(record, Logged)))

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a value that is asked for when it is scraped."""
        Gauge(f"borealis_storage_{name}", text, registry=self.registry).set_function(value)
