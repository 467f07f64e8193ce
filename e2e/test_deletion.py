"""The end of a database, which comes last in a run: Snapshots hold it up, and then nothing of it is left."""

import json
import time
from typing import Any

from e2e import scripts
from e2e.conftest import READERS
from e2e.database import API, Database
from e2e.kind import Kind
from e2e.process import await_that
from e2e.report import Scenario
from e2e.workload import Client, Ledger

SNAPSHOT = "quickstart-monday"


def test_snapshot_holds_deletion_up(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """A Snapshot pins what was committed, and holds a deletion up while the database goes on being served."""
    quickstart.await_whole(READERS, timeout=180)
    with Ledger(client=client, url=quickstart.url(), name="snapshot") as ledger:
        before = _position(client.python(scripts.COMMITTED, quickstart.url()).strip())
        start = time.monotonic()
        _snapshot(cluster, quickstart)
        status = await_that("the Snapshot is available", lambda: _available(cluster), timeout=60)
        scenario.seconds = time.monotonic() - start
        scenario.figures |= {key: status[key] for key in ("lsn", "logStart", "logBytes", "restorable")}
        assert _position(status["lsn"]) >= before, f"{status['lsn']} is before what was committed"
        assert status["restorable"] is False
        assert status["epoch"] == quickstart.status()["epoch"]
        cluster.kubectl("delete", "dbcluster", quickstart.name, "--wait=false")
        told = quickstart.await_condition("SnapshotsExist", "True", timeout=60)
        assert SNAPSHOT in told["message"], told
        ledger.await_commits(200, timeout=60)
        assert _available(cluster) == status, "a Snapshot moved"
    ledger.judge(scenario)
    assert ledger.summary["refused"] == ledger.summary["unknown"] == 0, ledger.summary
    quickstart.await_whole(READERS, timeout=60, word="deleting")


def test_failover_while_deletion_waits(scenario: Scenario, cluster: Kind, quickstart: Database) -> None:
    """While a deletion waits for Snapshots, a lost writer is replaced as ever."""
    old = quickstart.status()
    assert quickstart.raw()["metadata"].get("deletionTimestamp"), "the deletion does not wait"
    start = time.monotonic()
    cluster.kubectl("delete", "pod", old["writer"], "--wait=false")
    await_that("a failover", lambda: quickstart.status()["epoch"] > old["epoch"], timeout=60)
    quickstart.await_whole(READERS, timeout=180, word="deleting")
    scenario.seconds = time.monotonic() - start
    assert quickstart.condition("SnapshotsExist")["status"] == "True"


def test_delete_leaves_nothing(scenario: Scenario, cluster: Kind, quickstart: Database) -> None:
    """Deletion goes on when the last Snapshot is gone, and leaves nothing of the cluster."""
    kinds = "pods,pvc,services,endpointslices,secrets,configmaps,dbinstances,dbclusters,hpa,pdb"
    start = time.monotonic()
    cluster.kubectl("delete", "snapshot", "--all", "--timeout=60s")
    cluster.kubectl("delete", "dbcluster", quickstart.name, "--ignore-not-found", "--timeout=180s", timeout=200)

    def left() -> list[str]:
        names = cluster.kubectl("get", kinds, "-o", "name").split() + cluster.kubectl("get", "pv", "-o", "name").split()
        return [name for name in names if quickstart.name in name or name.startswith("persistentvolume/")]

    await_that(f"nothing is left: {left()}", lambda: not left(), timeout=120)
    scenario.seconds = time.monotonic() - start


def _snapshot(cluster: Kind, database: Database) -> None:
    spec = {"clusterName": database.name}
    manifest = {"apiVersion": API, "kind": "Snapshot", "metadata": {"name": SNAPSHOT}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def _available(cluster: Kind) -> dict[str, Any] | None:
    raw = json.loads(cluster.kubectl("get", "snapshot", SNAPSHOT, "-o", "json"))
    status: dict[str, Any] = raw.get("status", {})
    return status if status.get("status") == "available" else None


def _position(lsn: str) -> int:
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)
