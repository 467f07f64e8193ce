"""A cluster in a little world: one API server in memory, nodes in three zones, agents that obey."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from borealis_operator.api.catalogue import Catalogue
from borealis_operator.api.cluster import ClusterKey
from borealis_operator.kube.testing import FakeKube
from borealis_operator.observe.testing import FakeWorld
from borealis_operator.reconcile import metrics
from borealis_operator.reconcile.reconciler import Reconciler

KEY = ClusterKey(namespace="shop", name="orders")


@dataclass(kw_only=True)
class Stage:
    """Everything that a scenario needs; `now` moves only when the scenario says so."""

    kube: FakeKube
    world: FakeWorld
    reconciler: Reconciler
    now: float = 1_800_000_000.0

    def declare(self, spec: Mapping[str, Any]) -> None:
        self.kube.put(
            {"kind": "DBCluster", "metadata": {"name": KEY.name, "namespace": KEY.namespace}, "spec": dict(spec)}
        )

    def restart_operator(self) -> None:
        self.reconciler = make_reconciler(self)

    async def settle(self, passes: int = 40) -> None:
        """Pass after pass, with the world moving in between, until a pass writes and asks nothing."""
        for _ in range(passes):
            before = len(self.kube.writes), len(self.world.asked), dict(self.world.statuses)
            await self.reconciler.once(KEY)
            self.world.run()
            self.now += 2.0
            if before == (len(self.kube.writes), len(self.world.asked), self.world.statuses):
                return
        raise AssertionError(f"not settled; last writes: {self.kube.writes[-10:]}")

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.kube.objects["DBCluster", KEY.namespace, KEY.name].get("status", {}))

    def named(self, kind: str) -> list[str]:
        return sorted(name for k, ns, name in self.kube.objects if k == kind and ns == KEY.namespace)

    def events(self) -> list[str]:
        return [o["reason"] for (k, _, _), o in self.kube.objects.items() if k == "Event"]

    def addresses(self, service: str) -> list[str]:
        live = self.kube.objects.get(("EndpointSlice", KEY.namespace, service), {})
        return [a for e in live.get("endpoints", ()) for a in e["addresses"]]

    def pod(self, name: str) -> dict[str, Any]:
        return self.kube.objects["Pod", KEY.namespace, name]

    def writer_pod(self) -> dict[str, Any]:
        return self.pod(self.status["writer"])


def make_reconciler(stage: Stage) -> Reconciler:
    return Reconciler(
        kube=stage.kube,
        agents=stage.world,
        catalogue=Catalogue(images={"15": "engine:15", "17": "engine:17"}),
        wall=lambda: stage.now,
        clock=lambda: stage.now,
    )


@pytest.fixture
def stage() -> Stage:
    kube = FakeKube()
    world = FakeWorld(kube=kube)
    world.add_nodes({"a": 2, "b": 2, "c": 2})
    stage = Stage(kube=kube, world=world, reconciler=None)  # type: ignore[arg-type]
    stage.restart_operator()
    metrics.CLUSTERS.forget(KEY)  # what another test of this process left
    return stage


@pytest.fixture
async def running(stage: Stage) -> Stage:
    """A cluster with two readers that has come to rest."""
    stage.declare({"readers": 2, "databaseName": "app"})
    await stage.settle()
    return stage
