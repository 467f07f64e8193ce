"""One pass of deletion, repeated until nothing of the cluster runs or holds a disk."""

import contextlib
from dataclasses import dataclass

from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import NotFound
from borealis_operator.api.fields import section
from borealis_operator.kube.port import Kube
from borealis_operator.observe.cluster import list_objects
from borealis_operator.observe.port import Agents
from borealis_operator.plan.removal import plan_removal
from borealis_operator.plan.status import DELETING


@dataclass(frozen=True, slots=True, kw_only=True)
class Remover:
    """Deletion of clusters."""

    kube: Kube
    agents: Agents

    async def once(self, key: ClusterKey) -> bool:
        """Delete what is due; True when no pod, claim or DBInstance is left. KubeError passes through."""
        await self._say_deleting(key)
        await self.agents.forget(key)
        instances = [
            i
            for i in await self.kube.list("DBInstance", key.namespace)
            if section(i, "spec").get("clusterName") == key.name
        ]
        due = plan_removal(await list_objects(self.kube, key), instances)
        for action in due or ():
            with contextlib.suppress(NotFound):
                await self.kube.delete(action.kind, key.namespace, action.name, uid=action.uid)
        return due is None

    async def _say_deleting(self, key: ClusterKey) -> None:
        with contextlib.suppress(NotFound):
            live = await self.kube.get("DBCluster", key.namespace, key.name)
            if section(live, "status").get("status") != DELETING:
                body = {"status": {"status": DELETING}}
                await self.kube.patch("DBCluster", key.namespace, key.name, body, status=True)
