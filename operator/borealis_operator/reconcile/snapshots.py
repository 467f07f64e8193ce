"""Snapshots: this release keeps the objects and says plainly that it takes none yet."""

from typing import Final

from borealis_operator.api.fields import Raw, section
from borealis_operator.api.snapshot import parse_snapshot
from borealis_operator.kube.port import Kube
from borealis_operator.plan.conditions import condition, stamp_conditions
from borealis_operator.render.objects import rfc3339

MESSAGE: Final = "this release of Borealis does not take snapshots yet; nothing was stored"


async def tend_snapshot(kube: Kube, raw: Raw, *, now: float) -> None:
    """Write the status of one Snapshot if it is not there yet. KubeError passes through."""
    snapshot = parse_snapshot(raw)
    generation = int(section(raw, "metadata").get("generation", 1))
    fresh = [condition("Ready", False, "NotAvailable", MESSAGE)]
    conditions = stamp_conditions(
        fresh, snapshot.status.get("conditions") or (), generation=generation, now=rfc3339(now)
    )
    after = {"status": "unavailable", "restorable": False, "conditions": conditions}
    if {k: snapshot.status.get(k) for k in after} != after:
        await kube.patch("Snapshot", snapshot.namespace, snapshot.name, {"status": after}, status=True)
