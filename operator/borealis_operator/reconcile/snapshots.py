"""Taking Snapshots: those of a running cluster in its passes, with statuses asked for then and there.

What the streams told before the Snapshot appeared may be older than the last commit that was acknowledged; only an
answer to a question asked afterwards is not.
"""

import asyncio
import logging

from borealis_engine.contract.status import InstanceStatus, StorageStatus

from borealis_operator.api.errors import AgentError, KubeError, NotFound
from borealis_operator.api.fields import Raw, section
from borealis_operator.api.snapshot import Snapshot, parse_snapshot
from borealis_operator.kube.port import Kube
from borealis_operator.observe.port import Agents
from borealis_operator.plan.deletion import removal_begun
from borealis_operator.plan.facts import Facts
from borealis_operator.plan.snapshots import (
    Pin,
    Status,
    Wait,
    decide_pin,
    is_settled,
    render_failed,
    render_taken,
    render_waiting,
)
from borealis_operator.render.objects import rfc3339

log = logging.getLogger(__name__)


async def tend_snapshots(kube: Kube, agents: Agents, facts: Facts) -> bool:
    """Take the Snapshots that these facts show and that wait to be taken; True if some still wait."""
    due = [s for s in facts.snapshots if not is_settled(s) and not s.deleting]
    if not due:
        return False
    found, now = await _look(agents, facts), rfc3339(facts.now)
    for snapshot in due:
        if isinstance(found, Pin):
            status = render_taken(snapshot, found, version=facts.cluster.spec.engine_version, now=now)
            log.info("Snapshot %s: %s", snapshot.name, status["lsn"], extra={"cluster": str(facts.cluster.key)})
        else:
            status = render_waiting(snapshot, found, now=now)
        await _write(kube, snapshot, status)
    return not isinstance(found, Pin)


async def tend_orphan(kube: Kube, raw: Raw, *, now: float) -> None:
    """Say of a Snapshot whose cluster is not there, or is being removed, that it cannot be taken. KubeError passes."""
    snapshot = parse_snapshot(raw)
    if is_settled(snapshot) or snapshot.deleting:
        return
    try:
        status = section(await kube.get("DBCluster", snapshot.namespace, snapshot.cluster), "status")
    except NotFound:
        told = f"there is no DBCluster {snapshot.cluster!r} in this namespace; it is taken once there is one"
        await _write(kube, snapshot, render_waiting(snapshot, _missing(told), now=rfc3339(now)))
        return
    if removal_begun(status):
        told = f"DBCluster {snapshot.cluster!r} is being deleted; delete the Snapshot"
        await _write(kube, snapshot, render_failed(snapshot, "ClusterDeleted", told, now=rfc3339(now)))


def _missing(message: str) -> Wait:
    return Wait(reason="ClusterMissing", message=message)


async def _look(agents: Agents, facts: Facts) -> Pin | Wait:
    """Ask writer and storage nodes at once, now."""
    joining = facts.volume.config.joining if facts.volume else None
    replaced = (
        next((m.name for m in facts.volume.config.members if joining and m.id == joining.replaces), "")
        if facts.volume
        else ""
    )
    storage = [p for p in facts.member_pods if p.name != replaced]  # it may be none by the time that it answers
    pods = [*([facts.writer] if facts.writer else []), *storage]
    answers = await asyncio.gather(*(_ask(agents, pod.uid) for pod in pods))
    writer = next((a for a in answers if isinstance(a, InstanceStatus)), None)
    return decide_pin(writer, [a for a in answers if isinstance(a, StorageStatus)])


async def _ask(agents: Agents, uid: str) -> InstanceStatus | StorageStatus | None:
    try:
        return await agents.read_status(uid)
    except AgentError as error:
        log.info("status of pod %s: %s", uid, error)
        return None


async def _write(kube: Kube, snapshot: Snapshot, status: Status) -> None:
    """Write a status that is another, unless somebody wrote since it was read: then the next pass looks again.

    A pass that has come so far does not fail for it: each failure would turn the status of its cluster to and fro.
    """
    if {key: snapshot.status.get(key) for key in status} == status:
        return
    body = {"metadata": {"resourceVersion": snapshot.version}, "status": status}
    try:
        await kube.patch("Snapshot", snapshot.namespace, snapshot.name, body, status=True)
    except KubeError as error:
        log.info("Snapshot %s: %s; looking again", snapshot.name, error)
