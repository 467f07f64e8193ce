"""One pass of deletion, repeated until nothing of the cluster runs or holds a disk."""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import KubeError, NotFound
from borealis_operator.api.fields import section
from borealis_operator.api.names import API_VERSION
from borealis_operator.kube.port import Kube, Object
from borealis_operator.observe.cluster import list_objects, read_node, read_snapshots
from borealis_operator.observe.port import Agents
from borealis_operator.plan.conditions import Condition, stamp_conditions
from borealis_operator.plan.deletion import begin_removal, holding
from borealis_operator.plan.removal import plan_removal, removal_condition
from borealis_operator.render.objects import render_event, rfc3339

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remover:
    """Deletion of clusters. `wall` gives seconds since 1970."""

    kube: Kube
    agents: Agents
    wall: Callable[[], float] = time.time

    async def held(self, key: ClusterKey) -> bool:
        """Whether Snapshots hold the cluster, so that nothing of it may be deleted yet. KubeError passes through."""
        try:
            live = await self.kube.get("DBCluster", key.namespace, key.name)
        except NotFound:
            return False
        snapshots = read_snapshots(await self.kube.list("Snapshot", key.namespace), key.name)
        return bool(holding(snapshots, section(live, "status")))

    async def once(self, key: ClusterKey) -> bool:
        """Delete what is due; True when no pod, claim or DBInstance is left. KubeError passes through."""
        live = await self._say_deleting(key)
        await self.agents.forget(key)
        instances = [
            i
            for i in await self.kube.list("DBInstance", key.namespace)
            if section(i, "spec").get("clusterName") == key.name
        ]
        objects = await list_objects(self.kube, key)
        due = plan_removal(objects, instances)
        for action in due or ():
            with contextlib.suppress(NotFound):
                await self.kube.delete(action.kind, key.namespace, action.name, uid=action.uid)
        if live is not None and due is not None:
            await self._say_what_is_late(key, live, objects)
        return due is None

    async def _say_deleting(self, key: ClusterKey) -> Object | None:
        """Write that parts are being deleted, before the first one is; give the DBCluster as it was read."""
        try:
            live = await self.kube.get("DBCluster", key.namespace, key.name)
            status = section(live, "status")
            begun = begin_removal(status)
            if {k: status.get(k) for k in begun} != begun:
                return await self.kube.patch("DBCluster", key.namespace, key.name, {"status": begun}, status=True)
            return live
        except NotFound:
            return None

    async def _say_what_is_late(self, key: ClusterKey, live: Object, objects: Mapping[tuple[str, str], Object]) -> None:
        """Tell in a condition, and once in an event, what the removal has been waiting for."""
        if not any(o["metadata"].get("deletionTimestamp") for o in objects.values()):
            return
        now = self.wall()
        ready = {n.name for raw in await self.kube.list("Node", "") if (n := read_node(raw)).ready}
        late = removal_condition(objects, ready_nodes=ready, now=now)
        before = section(live, "status").get("conditions") or []
        if late is None or any({k: c.get(k) for k in late} == late for c in before):
            return
        generation = int(live["metadata"].get("generation", 1))
        fresh = stamp_conditions([late], before, generation=generation, now=rfc3339(now))
        conditions = [c for c in before if c["type"] != late["type"]] + fresh
        with contextlib.suppress(NotFound):
            body = {"status": {"conditions": conditions}}
            await self.kube.patch("DBCluster", key.namespace, key.name, body, status=True)
        await self._announce(live, late, now)

    async def _announce(self, live: Object, late: Condition, now: float) -> None:
        metadata = live["metadata"]
        involved = {"apiVersion": API_VERSION, "kind": "DBCluster"} | {
            k: metadata[k] for k in ("name", "namespace", "uid")
        }
        name = f"{metadata['name']}.{secrets.token_hex(8)}"
        log.warning("deletion of %s/%s: %s", metadata["namespace"], metadata["name"], late["message"])
        try:
            await self.kube.create(render_event(involved, name, late["reason"], late["message"], warning=True, now=now))
        except KubeError as error:
            log.warning("event %s is not posted: %s", late["reason"], error)
