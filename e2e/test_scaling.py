"""Readers by load: a HorizontalPodAutoscaler upon the scale subresource adds them and takes them away again.

A reader leaves the endpoint before it stops, so that clients that connect anew never notice.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e import scripts
from e2e.conftest import READERS
from e2e.database import Database
from e2e.kind import Kind
from e2e.process import CommandFailed, await_that
from e2e.report import Scenario
from e2e.workload import Client

MOST = READERS + 2
FEWEST = 1
HEIR = "quickstart-heir"  # of examples/failover-target.yaml


@pytest.fixture
def metrics(cluster: Kind, quickstart: Database) -> str:
    """The metrics API: what is there, else of the manifest that METRICS_SERVER_MANIFEST names, else a skip."""
    manifest = os.environ.get("METRICS_SERVER_MANIFEST")
    if manifest:
        cluster.kubectl("apply", "-f", manifest)
    elif not _usage(cluster):
        pytest.skip("no metrics API in this cluster, and METRICS_SERVER_MANIFEST names no manifest of metrics-server")
    pods = len(quickstart.pods(component="instance"))
    await_that("the processor use of the instances is known", lambda: len(_usage(cluster)) >= pods, timeout=180)
    return manifest or "was there"


@contextmanager
def busy(client: Client, url: str, *, threads: int) -> Iterator[None]:
    """Keep readers busy through the reader endpoint, with statements that cost processor time."""
    pid = client.shell(
        'nohup python -c "$1" "$2" "$3" >/tmp/busy.out 2>&1 & echo $!', scripts.BUSY, url, str(threads)
    ).strip()
    try:
        yield
    finally:
        client.shell('kill -TERM "$1"', pid, check=False)


@pytest.fixture
def autoscaled(cluster: Kind, quickstart: Database) -> Iterator[Database]:
    """The quickstart with readers by load, which get back to their number afterwards."""
    section = {"minReaders": FEWEST, "maxReaders": MOST, "targetCPUUtilization": 100, "scaleInStabilizationSeconds": 15}
    _patch(cluster, quickstart, {"readerAutoscaling": section})
    yield quickstart
    _patch(cluster, quickstart, {"readerAutoscaling": None, "readers": READERS})
    quickstart.await_whole(READERS, timeout=240)


def test_by_load(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, metrics: str, autoscaled: Database
) -> None:
    """Readers by HorizontalPodAutoscaler: more under load, fewer after it, and no connection is refused meanwhile."""
    name = f"{quickstart.name}-readers"
    await_that("the autoscaler", lambda: _scaler(cluster, name), timeout=60)
    await_that("few readers", lambda: _wanted(autoscaled) == FEWEST and autoscaled.whole(FEWEST), timeout=240)
    with client.converse(scripts.CONNECT, autoscaled.reader_url()) as connecting:
        start = time.monotonic()
        with busy(client, autoscaled.reader_url(), threads=6):
            await_that("more readers are called for", lambda: _wanted(autoscaled) > FEWEST, timeout=240)
            scenario.figures["seconds_to_call"] = round(time.monotonic() - start, 1)
            await_that("more readers are ready", lambda: autoscaled.status()["readers"] > FEWEST, timeout=120)
            scenario.figures["seconds_to_more"] = round(time.monotonic() - start, 1)
            scenario.figures["readers_under_load"] = autoscaled.status()["readers"]
        start = time.monotonic()
        await_that("fewer again", lambda: _wanted(autoscaled) == FEWEST and autoscaled.whole(FEWEST), timeout=300)
        scenario.figures["seconds_to_fewer"] = round(time.monotonic() - start, 1)
        assert _scaler(cluster, name), "the autoscaler has gone while its section is there"
        told = json.loads(connecting.communicate("enough\n", timeout=30)[0])
    scenario.seconds = scenario.figures["seconds_to_more"]
    scenario.figures["connections"], scenario.figures["errors"] = told["opened"], told["errors"]
    assert told["opened"] > 50
    assert not told["errors"], f"new connections failed while readers came and went: {told['errors']}"
    _patch(cluster, autoscaled, {"readerAutoscaling": None, "readers": READERS})
    await_that("the autoscaler is gone with its section", lambda: not _scaler(cluster, name), timeout=60)


def test_order_of_scale_in(scenario: Scenario, cluster: Kind, quickstart: Database) -> None:
    """Scale-in takes the newest instance of the highest tier, never the writer; a DBInstance of a user's own stays."""
    quickstart.await_whole(READERS, timeout=180)
    before = _made(cluster)
    cluster.kubectl("apply", "-f", "examples/failover-target.yaml")
    try:
        start = time.monotonic()
        await_that("one more", lambda: quickstart.whole(READERS + 1), timeout=120)
        cluster.kubectl("scale", f"dbcluster/{quickstart.name}", f"--replicas={READERS + 1}")
        await_that("one more again", lambda: quickstart.whole(READERS + 2), timeout=120)
        newest = _made(cluster) - before - {HEIR}
        cluster.kubectl("scale", f"dbcluster/{quickstart.name}", f"--replicas={READERS}")
        await_that("one fewer", lambda: _made(cluster) == before | {HEIR}, timeout=120)
        scenario.seconds = time.monotonic() - start
        assert len(newest) == 1
        quickstart.await_whole(READERS + 1, timeout=120)
    finally:
        cluster.kubectl("delete", "-f", "examples/failover-target.yaml", "--timeout=60s")
    quickstart.await_whole(READERS, timeout=120)


def _wanted(database: Database) -> int:
    """Give the number of readers that the autoscaler calls for."""
    return int(database.raw()["spec"]["readers"])


def _made(cluster: Kind) -> set[str]:
    return set(cluster.kubectl("get", "dbinstances", "-o", "jsonpath={.items[*].metadata.name}").split())


def _usage(cluster: Kind) -> list[dict[str, Any]]:
    """Give the processor use of instance pods; empty if there is no metrics API."""
    path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=borealis.dev%2Fcomponent%3Dinstance"
    try:
        return list(json.loads(cluster.kubectl("get", "--raw", path))["items"])
    except CommandFailed:
        return []


def _scaler(cluster: Kind, name: str) -> bool:
    return bool(cluster.kubectl("get", "hpa", name, "--ignore-not-found", "-o", "name").strip())


def _patch(cluster: Kind, database: Database, spec: dict[str, Any]) -> None:
    patch = json.dumps({"spec": spec})
    cluster.kubectl("patch", "dbcluster", database.name, "--type=merge", "--patch", patch)
