"""`Reconciler.once(key)`: one level-triggered pass; what it says last is when to look again.

It keeps no state but whom it asked to become the writer, and when, and for how long it has waited for storage
nodes, which the status has too, in coarse steps: everything else is read afresh each time.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from borealis_operator.api.catalogue import Catalogue
from borealis_operator.api.cluster import Cluster, ClusterKey, parse_cluster
from borealis_operator.api.errors import ConfigInvalid, Conflict, KubeError, NotFound, OperatorError
from borealis_operator.api.fields import section
from borealis_operator.api.forgiving import Faults, parse_running
from borealis_operator.execute.executor import Executor
from borealis_operator.kube.port import Kube, Object
from borealis_operator.observe.cluster import observe_cluster
from borealis_operator.observe.expiry import first_expiry
from borealis_operator.observe.port import Agents
from borealis_operator.plan.actions import Action, AskPromotion
from borealis_operator.plan.conditions import broken_condition, condition, reconciled_condition, stamp_conditions
from borealis_operator.plan.copies import count_waits, read_waits
from borealis_operator.plan.course import plan_course, plan_report
from borealis_operator.plan.deletion import holding, removal_begun
from borealis_operator.plan.facts import Asked, Facts
from borealis_operator.plan.lastgood import with_last_good
from borealis_operator.plan.measures import measure_cluster
from borealis_operator.reconcile import metrics
from borealis_operator.reconcile.context import CLUSTER
from borealis_operator.reconcile.snapshots import tend_snapshots
from borealis_operator.render.objects import rfc3339

log = logging.getLogger(__name__)

CONFLICT_S: Final = 0.2
PINNING_S: Final = 1.0
FAILED_S: Final = 2.0
INVALID_S: Final = 30.0
PASS_S: Final = 15.0  # no pass is further from the last one, unless something is amiss


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """Passes of all DBClusters of one operator. `wall` gives seconds since 1970, `clock` seconds that never jump."""

    kube: Kube
    agents: Agents
    catalogue: Catalogue
    wall: Callable[[], float]
    clock: Callable[[], float]
    _asked: dict[ClusterKey, tuple[str, float]] = field(default_factory=dict)
    _crashes: dict[ClusterKey, int] = field(default_factory=dict)  # in a row
    _waits: dict[ClusterKey, tuple[Mapping[str, float], float]] = field(default_factory=dict)

    async def once(self, key: ClusterKey) -> float:
        """Do one pass; give the seconds after which to look again if nothing calls for it earlier.

        Whatever goes wrong ends the pass and never its caller, which is all that looks after the cluster.
        """
        CLUSTER.set(str(key))
        try:
            delay = await self._once(key)
        except Exception:  # a fault of ours in one pass must not take the cluster's daemon away
            metrics.PASSES.labels("crashed").inc()
            log.exception("pass of %s crashed", key, extra={"cluster": str(key)})
            self._crashes[key] = self._crashes.get(key, 0) + 1
            return min(FAILED_S * 2.0 ** min(self._crashes[key] - 1, 10), INVALID_S)
        self._crashes.pop(key, None)
        return delay

    async def _once(self, key: ClusterKey) -> float:
        try:
            raw = await self.kube.get("DBCluster", key.namespace, key.name)
        except NotFound:
            metrics.CLUSTERS.forget(key)
            self._waits.pop(key, None)
            return INVALID_S
        except KubeError as error:
            metrics.PASSES.labels("failed").inc()
            log.warning("cannot read %s: %s", key, error)
            return FAILED_S
        self._measure(key, raw)
        try:
            with metrics.SECONDS.time():
                delay = await self._pass(key, raw)
            metrics.PASSES.labels("done").inc()
            return delay
        except Conflict as error:
            metrics.PASSES.labels("conflict").inc()
            log.info("%s: %s; looking again", key, error)
            return CONFLICT_S
        except OperatorError as error:
            metrics.PASSES.labels("failed").inc()
            log.warning("pass of %s failed: %s", key, error, extra={"cluster": str(key)})
            await self._confess(key, raw, error)
            return INVALID_S if isinstance(error, ConfigInvalid) else FAILED_S
        except Exception:
            await self._confess(key, raw, OperatorError("the operator met a fault of its own; see its log"))
            raise

    def _measure(self, key: ClusterKey, raw: Object) -> None:
        """Take over what the DBCluster says of itself for the metrics; no failover waits for what fails there."""
        try:
            metrics.CLUSTERS.read(key, raw)
        except Exception:
            metrics.PASSES.labels("crashed").inc()
            log.exception("the metrics of %s cannot be read", key, extra={"cluster": str(key)})

    async def _pass(self, key: ClusterKey, raw: Object) -> float:
        cluster, faults = self._parse(raw)
        if cluster.deleting and removal_begun(cluster.status.raw):
            return INVALID_S
        facts = await observe_cluster(
            self.kube,
            self.agents,
            cluster,
            now=self.wall(),
            entropy=secrets.token_hex(16),
            asked=self._last_asked(key),
        )
        if cluster.deleting and not holding(facts.snapshots, cluster.status.raw):
            return FAILED_S
        told = self.catalogue
        facts = replace(facts, faults=(*faults, *facts.faults), classes=told.classes, operator_peer=told.operator_peer)
        facts = with_last_good(facts)
        facts = self._count_waits(key, facts)
        course = plan_course(facts)
        executor = Executor(kube=self.kube, agents=self.agents)
        self._note(key, course.actions)
        refusal = await executor.execute(facts, course.actions)
        report = plan_report(facts, course, refusal=refusal)
        self._note(key, report)
        refusal = await executor.execute(facts, report) or refusal
        metrics.CLUSTERS.counted(key, measure_cluster(facts), expiry=first_expiry(facts.objects), now=self.wall())
        delay = max(course.delay, FAILED_S) if refusal else course.delay
        return min(delay, PINNING_S) if await tend_snapshots(self.kube, self.agents, facts) else delay

    def _parse(self, raw: Object) -> tuple[Cluster, Faults]:
        """Parse strictly what was never made, and forgivingly what runs: its failover must not wait for its user."""
        if section(raw, "status").get("epoch"):
            return parse_running(raw, self.catalogue)
        return parse_cluster(raw, self.catalogue), ()

    def _note(self, key: ClusterKey, actions: Sequence[Action]) -> None:
        """Count what is about to be done, and remember whom it asks to become the writer."""
        for action in actions:
            metrics.ACTIONS.labels(type(action).__name__).inc()
            if isinstance(action, AskPromotion):
                self._asked[key] = (action.pod.name, self.clock())

    def _count_waits(self, key: ClusterKey, facts: Facts) -> Facts:
        """Add the time since the last pass to what members have been waited for; after a start go on from the status.

        A pass that comes late adds no more than one in its time: this operator may have been frozen meanwhile.
        """
        now = self.clock()
        before, at = self._waits.get(key, (read_waits(facts.cluster.status.raw), now))
        waits = count_waits(facts, before, elapsed=min(now - at, PASS_S))
        self._waits[key] = (waits, now)
        return replace(facts, waited=waits)

    def _last_asked(self, key: ClusterKey) -> Asked | None:
        pod, at = self._asked.get(key, ("", 0.0))
        return Asked(pod=pod, ago=self.clock() - at) if pod else None

    async def _confess(self, key: ClusterKey, raw: Object, error: OperatorError) -> None:
        """Write into the status why the pass failed, if that is not there yet."""
        status = raw.get("status") or {}
        before = status.get("conditions") or []
        fresh = [reconciled_condition(str(error)[:512], type(error).__name__)]
        if ready := broken_condition(error):
            fresh.append(ready)
        if isinstance(error, ConfigInvalid) and not status.get("epoch"):
            fresh.append(condition("Ready", False, "ConfigInvalid", str(error)[:512]))
        generation = int(raw["metadata"].get("generation", 1))
        told = {c["type"]: c for c in stamp_conditions(fresh, before, generation=generation, now=rfc3339(self.wall()))}
        after = [told.pop(c["type"], c) for c in before] + list(told.values())
        if after == before:
            return
        try:
            await self.kube.patch("DBCluster", key.namespace, key.name, {"status": {"conditions": after}}, status=True)
        except KubeError as second:
            log.warning("cannot write the status of %s: %s", key, second)
