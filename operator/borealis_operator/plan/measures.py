"""Numbers about one cluster that its status does not hold, for `/metrics`; made from the facts of a pass."""

from dataclasses import dataclass

from borealis_engine.contract.status import Role

from borealis_operator.api.autoscaling import MAX_READERS
from borealis_operator.plan.facts import Facts
from borealis_operator.plan.space import measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What a pass counted; None where nobody told."""

    readers_wanted: int
    reader_lag_seconds: float | None
    storage_used_ratio: float | None


def measure_cluster(facts: Facts) -> Measures:
    """Give the numbers of one pass: of readers the one that is furthest behind, of storage nodes the fullest."""
    lags = [
        status.lag_seconds
        for pod in facts.instance_pods
        if (status := pod.instance_status) and status.role is Role.READER and status.lag_seconds is not None
    ]
    added = sum(1 for i in facts.instances if not i.generated and not i.deleting)
    shares = [room.share for room in measure(facts)]
    return Measures(
        readers_wanted=max(0, min(facts.cluster.spec.wanted_readers, MAX_READERS - added)) + added,
        reader_lag_seconds=max(lags, default=None),
        storage_used_ratio=max(shares, default=None),
    )
