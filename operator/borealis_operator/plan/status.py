"""The status of DBCluster and DBInstances, made from facts alone, and written only when it changed."""

from collections.abc import Mapping
from typing import Any, Final

from borealis_engine.contract.names import POSTGRES_PORT
from borealis_engine.contract.status import Role
from borealis_engine.contract.volume import MEMBERS, format_lsn

from borealis_operator.api.errors import OperatorError
from borealis_operator.api.fields import timestamp
from borealis_operator.api.names import (
    master_name,
    reader_service,
    readers_selector,
    writer_service,
)
from borealis_operator.plan.autoscaling import autoscaling_conditions
from borealis_operator.plan.conditions import (
    Condition,
    authority_condition,
    broken_condition,
    ready_condition,
    reconciled_condition,
    stamp_conditions,
    writer_condition,
    zones_condition,
)
from borealis_operator.plan.deletion import DELETING, deletion_condition
from borealis_operator.plan.extensions import extensions_conditions
from borealis_operator.plan.facts import Facts, Pod
from borealis_operator.plan.password import password_condition
from borealis_operator.plan.rollout import plan_rollout, rollout_condition
from borealis_operator.plan.running import pods_condition
from borealis_operator.plan.settings import parameters_condition
from borealis_operator.plan.space import space_condition, storage_used
from borealis_operator.plan.storage import (
    render_storage_nodes,
    replacement_condition,
    serving_members,
    storage_condition,
)
from borealis_operator.render.objects import rfc3339

CREATING: Final = "creating"
AVAILABLE: Final = "available"
FAILING_OVER: Final = "failing-over"
LSN_EVERY_S: Final = 60.0  # durableLsn alone is refreshed this often: it moves with every commit


def decide_phase(before: str, epoch: int, writer: Pod | None, *, database_set: bool) -> str:
    """Give the word of RDS for what the cluster is doing; `epoch` is that of the last writer known, 0 for none.

    A writer whose pod is about to end in a switchover does not make the cluster available again.
    """
    status = writer.instance_status if writer else None
    leaving = writer is not None and writer.terminating and before == FAILING_OVER
    ready = status is not None and status.ready and not leaving
    if before in ("", CREATING):
        return AVAILABLE if ready and database_set else CREATING
    return AVAILABLE if ready else FAILING_OVER if epoch else CREATING


def render_status(
    facts: Facts, *, phase: str, hold: str, trouble: OperatorError | None, database_set: bool
) -> Mapping[str, Any]:
    """Give the status of the DBCluster as it should now be; `trouble` is what the pass could not do."""
    cluster, writer = facts.cluster, facts.writer
    status = writer.instance_status if writer else None
    namespace = cluster.key.namespace
    return {
        "status": phase,
        "observedGeneration": cluster.generation,
        "engineVersion": cluster.spec.engine_version,
        "endpoint": f"{writer_service(cluster.name)}.{namespace}.svc",
        "readerEndpoint": f"{reader_service(cluster.name)}.{namespace}.svc",
        "port": POSTGRES_PORT,
        "masterUserSecret": {"name": master_name(cluster.name)},
        "writer": writer.name if writer else "",
        "epoch": max(cluster.status.epoch, status.epoch if status else 0),
        "readers": sum(1 for p in facts.instance_pods if _reads(p)),
        "selector": readers_selector(cluster.name),
        "storage": f"{serving_members(facts)}/{MEMBERS}",
        "storageUsed": storage_used(facts),
        "durableLsn": _durable(facts),
        "lsnTime": rfc3339(facts.now),
        "members": _members(facts),
        "storageNodes": render_storage_nodes(facts),
        "conditions": stamp_conditions(
            _conditions(facts, hold, trouble, database_set=database_set),
            cluster.status.conditions,
            generation=cluster.generation,
            now=rfc3339(facts.now),
        ),
    }


def _conditions(facts: Facts, hold: str, trouble: OperatorError | None, *, database_set: bool) -> list[Condition]:
    """Give all conditions, the ones that matter most to applications first."""
    told = writer_condition(facts.writer, hold)
    status = facts.writer.instance_status if facts.writer else None
    was_up = facts.cluster.status.phase in (AVAILABLE, FAILING_OVER, DELETING)
    return [
        broken_condition(trouble)
        or ready_condition(told, database_set=database_set or was_up, fault=status.access if status else ""),
        told,
        storage_condition(facts),
        zones_condition(facts),
        password_condition(facts),
        parameters_condition(facts, waits=plan_rollout(facts).waits),
        *extensions_conditions(facts),
        rollout_condition(facts),
        pods_condition(facts),
        space_condition(facts),
        *([lost] if (lost := authority_condition(facts)) else []),
        *autoscaling_conditions(facts),
        *([replacing] if (replacing := replacement_condition(facts)) else []),
        *([waits] if (waits := deletion_condition(facts)) else []),
        reconciled_condition(str(trouble)[:512], type(trouble).__name__) if trouble else reconciled_condition(),
    ]


def status_patch(
    before: Mapping[str, Any], after: Mapping[str, Any], *, now: float, refresh: bool = True
) -> Mapping[str, Any]:
    """Give what to merge into the live status; empty if nothing but the durable LSN moved lately.

    Without `refresh` that alone is never written: while a deletion waits, nobody takes the events of such writes.
    """
    moving = ("durableLsn", "lsnTime")
    changed = {k: v for k, v in after.items() if before.get(k) != v}
    settled = {k: v for k, v in changed.items() if k not in moving}
    stale = "durableLsn" in changed and now - timestamp(before.get("lsnTime")) >= LSN_EVERY_S
    return changed if settled or (stale and refresh) else {}


def _members(facts: Facts) -> list[dict[str, Any]]:
    """One entry for each storage node: what it is, where it is, how it is."""
    pods = {p.name: p for p in facts.storage_pods}
    members = []
    for member in facts.volume.config.members if facts.volume else ():
        pod = pods.get(member.name)
        said = pod.storage_status if pod else None
        state = said.state.value if said else "not-responding" if pod else "missing"
        members.append({"name": member.name, "id": str(member.id), "zone": member.zone, "state": state})
    return members


def _durable(facts: Facts) -> str:
    said = [s.durable_lsn for p in facts.pods if (s := p.instance_status or p.storage_status)]
    return format_lsn(max(said, default=0))


def _reads(pod: Pod) -> bool:
    status = pod.instance_status
    return status is not None and status.role is Role.READER and status.ready
