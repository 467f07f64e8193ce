"""Life of the operator beside running databases: two replicas, an upgrade, an uninstallation, a restricted namespace.

The operator is nowhere in the path of a commit: what is done to it may neither end a pod nor a connection.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e import images, scripts
from e2e.conftest import READERS, again
from e2e.database import Database
from e2e.images import Images
from e2e.kind import Kind
from e2e.process import await_that
from e2e.release import Release
from e2e.report import Scenario
from e2e.workload import Client, Ledger

LIMIT_S = 60
CALM_S = 5.0  # no commit may wait longer for what does not concern it
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@pytest.fixture
def restricted(cluster: Kind) -> Iterator[str]:
    """A namespace in which the API server refuses pods that are not `restricted`."""
    name = "restricted"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, RESTRICTED)
    yield name
    cluster.kubectl("delete", "namespace", name, "--timeout=150s", timeout=160)


@again
def test_leader_and_writer_lost(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, release: Release, repeat: str
) -> None:
    """The Kubernetes node of both the writer and the leading operator frozen: the other operator fails over."""
    old = quickstart.await_whole(READERS, timeout=180)
    node = quickstart.writer()["spec"]["nodeName"]
    release.lead_from(node)
    leader = release.leader()
    quickstart.await_whole(READERS, timeout=60)
    with Ledger(client=client, url=quickstart.url(), name=f"leader-{repeat}") as ledger:
        start = time.monotonic()
        cluster.pause(node)
        try:
            await_that("another leader", lambda: release.leader() != leader, timeout=LIMIT_S)
            scenario.figures["seconds_to_new_leader"] = round(time.monotonic() - start, 1)
            await_that("a later epoch", lambda: quickstart.status()["epoch"] > old["epoch"], timeout=LIMIT_S)
            ledger.await_commits(50, timeout=LIMIT_S)
        finally:
            cluster.resume(node)
    _judge(scenario, ledger, LIMIT_S)
    quickstart.await_whole(READERS, timeout=240)
    release.await_ready(120)


def test_upgrade(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, release: Release, published: Images
) -> None:
    """The chart upgraded to other images and values under load: the operator rolls, no database pod restarts."""
    quickstart.await_whole(READERS, timeout=180)
    before, operators = _lives(quickstart), set(release.pods())
    with Ledger(client=client, url=quickstart.url(), name="upgrade") as ledger:
        start = time.monotonic()
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds")  # helm upgrades no definitions
        release.install(images.renamed(cluster, published), "operator.verbose=true")
        scenario.figures["seconds_to_upgrade"] = round(time.monotonic() - start, 1)
        await_that("other operators", lambda: not operators & set(release.pods()), timeout=60)
        await_that("an operator that works", lambda: release.leader() in release.pods(), timeout=60)
        _await_repair(cluster, quickstart)
        ledger.await_commits(100, timeout=60)
    _judge(scenario, ledger, CALM_S)
    assert ledger.summary["refused"] == ledger.summary["unknown"] == 0, ledger.summary
    assert _lives(quickstart) == before
    scenario.figures["pods_kept"] = len(before)
    quickstart.await_whole(READERS, timeout=60)


def test_uninstall(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, release: Release, published: Images
) -> None:
    """The chart uninstalled under load: databases stay and serve; installed again, it takes over where it was."""
    old = quickstart.await_whole(READERS, timeout=180)
    before, notes = _lives(quickstart), release.notes()
    for command in ("helm uninstall borealis", "kubectl delete dbclusters", "kubectl delete crd"):
        assert command in notes, f"the chart's notes do not name {command!r}: {notes}"
    with Ledger(client=client, url=quickstart.url(), name="uninstall") as ledger:
        try:
            release.uninstall()
            await_that("no operator is left", lambda: not release.pods(), timeout=60)
            ledger.await_commits(200, timeout=60)
            reader = client.python(scripts.ONE, quickstart.reader_url()).strip()
            start = time.monotonic()
        finally:
            release.install(published)
        await_that("an operator that works", lambda: release.leader() in release.pods(), timeout=60)
        _await_repair(cluster, quickstart)
        scenario.figures["seconds_to_install_again"] = round(time.monotonic() - start, 1)
    assert reader == "1"
    _judge(scenario, ledger, CALM_S)
    assert ledger.summary["refused"] == ledger.summary["unknown"] == 0, ledger.summary
    assert _lives(quickstart) == before
    cluster.kubectl("delete", "pod", old["writer"], "--wait=false")
    await_that("a failover", lambda: quickstart.status()["epoch"] > old["epoch"], timeout=LIMIT_S)
    quickstart.await_whole(READERS, timeout=180)


def test_restricted_namespace(scenario: Scenario, cluster: Kind, quickstart: Database, restricted: str) -> None:
    """A cluster of its user's own password in a namespace that enforces the restricted Pod Security Standard."""
    start = time.monotonic()
    cluster.kubectl("apply", "-n", restricted, "-f", "examples/own-password.yaml")
    orders = Database(api=quickstart.api, namespace=restricted, name="orders")
    orders.await_whole(1, timeout=300)
    scenario.seconds = time.monotonic() - start
    pods = orders.pods()
    assert len(pods) == 8
    assert not [pod["metadata"]["name"] for pod in pods if _token(pod)], "a service account's token is mounted"
    cluster.kubectl("delete", "dbcluster", "orders", "-n", restricted, "--timeout=120s", timeout=130)
    await_that("no pod is left", lambda: not orders.pods(), timeout=60)
    left = cluster.kubectl("get", "pvc,services,configmaps,secrets", "-n", restricted, "-o", "name").split()
    assert [name for name in left if "orders" in name] == ["secret/orders-password"], left


def _lives(database: Database) -> dict[str, tuple[str, int]]:
    """Give uid and restart count of each pod of a cluster."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(c["restartCount"] for c in pod["status"]["containerStatuses"]),
        )
        for pod in database.pods()
    }


def _await_repair(cluster: Kind, database: Database) -> None:
    """Take a reader's role label away, and wait until the operator has put it back: a pass has gone through."""
    reader = database.pods(role="reader")[0]["metadata"]["name"]
    cluster.kubectl("label", "pod", reader, "borealis.dev/role-")

    def repaired() -> bool:
        pod = database.pod(reader)
        return bool(pod and pod["metadata"]["labels"].get("borealis.dev/role") == "reader")

    await_that(f"the role of {reader} is put back", repaired, timeout=60)


def _token(pod: dict[str, Any]) -> bool:
    sources = [s for volume in pod["spec"]["volumes"] for s in volume.get("projected", {}).get("sources", [])]
    return any("serviceAccountToken" in source for source in sources)


def _judge(scenario: Scenario, ledger: Ledger, limit: float) -> None:
    ledger.judge(scenario)
    assert scenario.lost == 0
    assert scenario.seconds < limit
