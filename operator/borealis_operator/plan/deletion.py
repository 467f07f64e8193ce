"""Deletion of a DBCluster waits for its Snapshots: they pin the volume, and until they are gone the database is served.

The wait ends for good with the first deletion of a part: whoever makes a Snapshot after that comes too late, and no
pass makes anything again.
"""

from collections.abc import Sequence
from typing import Final

from borealis_operator.api.fields import Raw
from borealis_operator.api.snapshot import Snapshot
from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.facts import Facts
from borealis_operator.plan.snapshots import AVAILABLE

DELETING: Final = "deleting"
SHOWN: Final = 10  # names in a message


def removal_begun(status: Raw) -> bool:
    """Whether parts of the cluster may have been deleted already."""
    return status.get("status") == DELETING and not _waits(status)


def holding(snapshots: Sequence[Snapshot], status: Raw) -> tuple[str, ...]:
    """Give the names of the Snapshots for which the deletion of their cluster waits.

    One that is not taken yet holds a cluster only if the cluster ever had a writer: else there is nothing to take.
    """
    if removal_begun(status):
        return ()
    written = bool(status.get("epoch"))
    held = (s for s in snapshots if not s.deleting and (written or s.status.get("status") == AVAILABLE))
    return tuple(sorted(s.name for s in held))


def deletion_condition(facts: Facts) -> Condition | None:
    """Say for which Snapshots the deletion waits; None if none is under way."""
    cluster = facts.cluster
    names = holding(facts.snapshots, cluster.status.raw) if cluster.deleting else ()
    if not names:
        return None
    shown, more = " ".join(names[:SHOWN]), len(names) - SHOWN
    message = (
        f"the deletion waits for {len(names)} Snapshot{'s' if len(names) > 1 else ''} of this cluster, and the "
        f"database is served until they are gone: kubectl -n {cluster.key.namespace} delete snapshot {shown}"
        + (f" (and {more} more)" if more > 0 else "")
    )
    return condition("SnapshotsExist", True, "SnapshotsExist", message)


def begin_removal(status: Raw) -> dict[str, object]:
    """Give what the status must say before the first part is deleted."""
    rest = [c for c in status.get("conditions") or () if c["type"] != "SnapshotsExist"]
    return {"status": DELETING, "conditions": rest} if _waits(status) else {"status": DELETING}


def _waits(status: Raw) -> bool:
    conditions = status.get("conditions") or ()
    return any(c["type"] == "SnapshotsExist" and c["status"] == "True" for c in conditions)
