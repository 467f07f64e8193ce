"""The gauges of clusters: what they say while one lives, through a failover, and that nothing of it stays behind."""

import json
import logging
from typing import Any

import pytest
from borealis_operator.main.logs import JsonFormatter
from borealis_operator.reconcile import metrics
from borealis_operator.reconcile.context import CLUSTER
from borealis_operator.reconcile.gauges import GAUGES, PREFIX, ClusterGauges
from prometheus_client import REGISTRY

from .conftest import KEY, Stage

LABELS = {"dbcluster_namespace": KEY.namespace, "dbcluster": KEY.name}


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(PREFIX + name, {**LABELS, **labels})


def of_the_cluster() -> list[Any]:
    return [
        s
        for family in REGISTRY.collect()
        for s in family.samples
        if s.labels.get("dbcluster") == KEY.name and s.value >= 0
    ]


async def test_a_running_cluster_in_numbers(running: Stage) -> None:
    assert value("phase", phase="available") == 1
    assert value("phase", phase="failing-over") == 0
    assert value("condition", condition="WriterAvailable", reason="Writing") == 1
    assert (value("readers_wanted"), value("readers_ready"), value("storage_members_current")) == (2, 2, 6)
    assert value("epoch") == running.status["epoch"]
    assert value("last_pass_timestamp_seconds") is not None
    assert (value("certificate_expiry_timestamp_seconds") or 0) > 2_000_000_000
    assert value("failovers_total") == 0


async def test_passes_are_counted(running: Stage) -> None:
    before = REGISTRY.get_sample_value("borealis_operator_passes_total", {"outcome": "done"})
    await running.reconciler.once(KEY)
    assert REGISTRY.get_sample_value("borealis_operator_passes_total", {"outcome": "done"}) == (before or 0) + 1


async def test_the_series_of_a_cluster_end_with_it(running: Stage) -> None:
    assert of_the_cluster()
    running.kube.remove("DBCluster", KEY.namespace, KEY.name)
    await running.reconciler.once(KEY)
    assert of_the_cluster() == []


def raw(*, epoch: int, writes: bool, reason: str = "Writing") -> dict[str, Any]:
    condition = {"type": "WriterAvailable", "status": "True" if writes else "False", "reason": reason}
    return {"status": {"status": "available", "epoch": epoch, "storage": "5/6", "conditions": [condition]}}


def found(gauges: ClusterGauges, name: str) -> list[float]:
    return [s.value for f in gauges.collect() for s in f.samples if s.name == PREFIX + name]


def test_a_failover_is_counted_and_timed() -> None:
    now = [100.0]
    gauges = ClusterGauges(lambda: now[0])
    gauges.read(KEY, raw(epoch=0, writes=False))
    now[0] += 30
    gauges.read(KEY, raw(epoch=1, writes=True))
    assert (found(gauges, "failovers_total"), found(gauges, "failover_seconds")) == ([0], [])  # creation is none
    now[0] += 30
    gauges.read(KEY, raw(epoch=1, writes=False, reason="NoWriter"))
    now[0] += 2.5
    gauges.read(KEY, raw(epoch=2, writes=False, reason="NotReady"))
    now[0] += 2.5
    gauges.read(KEY, raw(epoch=2, writes=True))
    assert (found(gauges, "failovers_total"), found(gauges, "failover_seconds")) == ([1], [5.0])
    assert found(gauges, "condition") == [1.0]  # of three reasons the one that holds


def test_an_operator_that_came_in_between_does_not_count_what_it_did_not_see() -> None:
    gauges = ClusterGauges(lambda: 0.0)
    gauges.read(KEY, raw(epoch=7, writes=False, reason="NoWriter"))
    gauges.read(KEY, raw(epoch=8, writes=True))
    assert (found(gauges, "failovers_total"), found(gauges, "failover_seconds")) == ([1], [])


def test_a_pass_of_a_cluster_that_was_forgotten_brings_nothing_back() -> None:
    gauges = ClusterGauges(lambda: 0.0)
    gauges.read(KEY, raw(epoch=1, writes=True))
    gauges.forget(KEY)
    measures: Any = None
    gauges.counted(KEY, measures, expiry=None, now=0.0)
    assert [s for f in gauges.collect() for s in f.samples] == []


def test_all_names_are_known_before_there_is_a_cluster() -> None:
    names = {family.name for family in ClusterGauges(lambda: 0.0).collect()}
    assert {PREFIX + name for name in GAUGES} < names


def test_the_leader_says_so() -> None:
    assert metrics.LEADER.collect()


def test_a_line_of_log_bears_the_cluster_of_its_pass() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "hello", None, None)
    token = CLUSTER.set("shop/orders")
    try:
        assert json.loads(JsonFormatter().format(record))["cluster"] == "shop/orders"
        record.cluster, record.node, record.epoch, record.lsn = "other/one", "pod", 3, "0/1"
        line = json.loads(JsonFormatter().format(record))
    finally:
        CLUSTER.reset(token)
    assert [line[k] for k in ("cluster", "node", "epoch", "lsn")] == ["other/one", "pod", "3", "0/1"]
    assert line["level"] == "info"


@pytest.mark.parametrize("missing", ["cluster", "node"])
def test_a_line_of_log_outside_any_pass_says_nothing_of_a_cluster(missing: str) -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "hello", None, None)
    assert missing not in json.loads(JsonFormatter().format(record))
