"""What the operator counts of itself, for `/metrics`: passes, how long they take, what they do, and the clusters."""

import time
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics

from borealis_operator.reconcile.gauges import ClusterGauges

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

PASSES: Final = Counter("borealis_operator_passes", "Passes over a DBCluster, by outcome.", ["outcome"])
SECONDS: Final = Histogram("borealis_operator_pass_seconds", "Seconds that a pass takes.", buckets=_SECONDS)
ACTIONS: Final = Counter("borealis_operator_actions", "Actions planned, by kind.", ["action"])
LEADER: Final = Gauge("borealis_operator_leader", "1 if this operator holds the Lease and works, 0 if it stands by.")
CLUSTERS: Final = ClusterGauges(time.monotonic)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter, which nobody asks for
for outcome in ("done", "conflict", "failed", "crashed"):
    PASSES.labels(outcome)  # there from the start, at zero
REGISTRY.register(CLUSTERS)
