"""DBInstances without a cluster: no pass sees them, so their own event has them told that they wait.

Once the cluster is there, its passes write their statuses, and what was said here goes. An event comes once, so what
the API did not take is said again (Snapshots without a cluster likewise).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from borealis_operator.api.errors import KubeError, NotFound
from borealis_operator.api.fields import Raw, section
from borealis_operator.kube.port import Kube
from borealis_operator.plan.conditions import condition, stamp_conditions
from borealis_operator.plan.instance_status import WAITING
from borealis_operator.render.objects import rfc3339

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
AGAIN_MOST_S: Final = 30.0


async def until_said(
    what: str, say: Callable[[], Awaitable[None]], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Repeat until the API has taken what `say` says of an object, or the object is gone."""
    pause = AGAIN_S
    while True:
        try:
            await say()
            return
        except NotFound:
            return
        except KubeError as error:
            log.warning("status of %s: %s", what, error)
        await sleep(pause)
        pause = min(2 * pause, AGAIN_MOST_S)


async def tend_orphaned_instance(kube: Kube, raw: Raw, *, now: float) -> None:
    """Say of a DBInstance that its cluster does not exist, if that is so and not said yet. KubeError passes through."""
    meta, status, cluster = section(raw, "metadata"), section(raw, "status"), section(raw, "spec").get("clusterName")
    if meta.get("deletionTimestamp"):
        return
    try:
        await kube.get("DBCluster", meta["namespace"], str(cluster))
        return
    except NotFound:
        problem = f"spec.clusterName: there is no DBCluster {cluster!r} in namespace {meta['namespace']}"
    fresh = [condition("Ready", False, "ClusterMissing", f"{problem}; make it, or delete this DBInstance")]
    generation, before = int(meta.get("generation", 1)), status.get("conditions") or ()
    after = {
        "status": WAITING,
        "conditions": stamp_conditions(fresh, before, generation=generation, now=rfc3339(now)),
    }
    if {key: status.get(key) for key in after} != after:
        await kube.patch("DBInstance", meta["namespace"], meta["name"], {"status": after}, status=True)
