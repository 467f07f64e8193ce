"""The daemon of a cluster outlives whatever a pass meets, in any of its parts, and says so."""

import asyncio
from typing import Any

import pytest
from borealis_operator.api.errors import KubeDown
from borealis_operator.handlers import registry
from borealis_operator.handlers.registry import Wiring, remove_once
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.reconcile import metrics
from borealis_operator.reconcile.kicks import Kicks
from borealis_operator.reconcile.reconciler import FAILED_S, INVALID_S
from borealis_operator.reconcile.removal import Remover

from .conftest import KEY, Stage
from .test_operator_faults import told

RAISED = [KubeDown("no answer"), TimeoutError(), KeyError("metadata"), RecursionError(), ZeroDivisionError()]


def passes(outcome: str) -> float:
    """Give how many passes had an outcome."""
    return float(metrics.PASSES.labels(outcome)._value.get())


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_what_the_metrics_meet_costs_no_failover(
    running: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise error

    before = passes("crashed")
    monkeypatch.setattr(metrics.CLUSTERS, "read", fail)
    old = running.status["writer"]
    running.world.die(running.writer_pod()["metadata"]["uid"])
    for _ in range(10):
        assert await running.reconciler.once(KEY) <= INVALID_S
        running.world.run()
        running.now += 2.0
    assert running.status["writer"] not in ("", old)
    assert passes("crashed") >= before + 10


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_reading_the_cluster_may_fail_in_any_way(
    running: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    get, count = FakeKube.get, passes("crashed") + passes("failed")

    async def fail(self: FakeKube, kind: str, *given: Any) -> Object:
        if kind == "DBCluster":
            raise error
        return await get(self, kind, *given)

    with monkeypatch.context() as patched:
        patched.setattr(FakeKube, "get", fail)
        delays = [await running.reconciler.once(KEY) for _ in range(7)]
    assert passes("crashed") + passes("failed") == count + 7
    if not isinstance(error, KubeDown):
        assert delays == [FAILED_S, 4.0, 8.0, 16.0, INVALID_S, INVALID_S, INVALID_S]
    await running.settle()
    assert told(running)["Reconciled"]["status"] == "True"


@pytest.mark.parametrize(
    "status",
    [{"conditions": ["x"]}, {"conditions": [{}]}, {"storage": "many"}, {"epoch": "first"}, {"members": [1]}],
    ids=["text", "empty", "storage", "epoch", "members"],
)
async def test_a_status_that_somebody_spoiled_ends_no_daemon(running: Stage, status: dict[str, Any]) -> None:
    live = running.kube.objects["DBCluster", KEY.namespace, KEY.name]
    live["status"] = {**live["status"], **status}
    for _ in range(5):
        assert 0 < await running.reconciler.once(KEY) <= INVALID_S


async def test_a_fault_of_ours_is_said_and_forgiven(running: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*given: Any) -> float:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(type(running.reconciler), "_pass", fail)
        assert [await running.reconciler.once(KEY) for _ in range(2)] == [FAILED_S, 2 * FAILED_S]
    assert told(running)["Reconciled"]["status"] == "False"
    assert "fault of its own" in told(running)["Reconciled"]["message"]
    await running.settle()
    assert told(running)["Reconciled"]["status"] == "True"


async def test_a_deletion_goes_on_after_a_fault_of_ours(running: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*given: Any) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(registry, "CRASHED_S", 0.0)
    remover = Remover(kube=running.kube, agents=running.world)
    wiring = Wiring(kube=running.kube, kicks=Kicks(), reconciler=running.reconciler, remover=remover)
    with monkeypatch.context() as patched:
        patched.setattr(Remover, "held", fail)
        assert await remove_once(wiring, KEY) is not None
    async with asyncio.timeout(30):
        while await remove_once(wiring, KEY) is not None:
            pass
    assert running.named("Pod") == []
