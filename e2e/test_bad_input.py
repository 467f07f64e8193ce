"""Mistakes: what the API server refuses says field and remedy; what only the kubelets can see becomes a condition.

None of them may disturb a cluster that stands beside it.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.conftest import READERS
from e2e.database import API, Database
from e2e.images import Images
from e2e.kind import Kind
from e2e.process import await_that
from e2e.release import Release
from e2e.report import Scenario

NAMESPACE = "mistakes"
SPEC: dict[str, Any] = {"storage": {"size": "1Gi"}, "readers": 0}
ABSENT = "15"  # a version whose image nobody can pull
AUTOSCALING = {"minReaders": 3, "maxReaders": 2}
# Changed spec of a new cluster, and words that the refusal must have: the field, and what to do.
REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "readers-16": ({"readers": 16}, ("spec.readers", "less than or equal to 15")),
    "readers-minus-1": ({"readers": -1}, ("spec.readers", "greater than or equal to 0")),
    "engine": ({"engine": "mysql"}, ("spec.engine", "postgresql")),
    "version": ({"engineVersion": "9.6"}, ("spec.engineVersion", '"17"')),
    "reserved-parameter": ({"parameters": {"fsync": "off"}}, ("spec.parameters", "fsync", "leave it out")),
    "parameter-name": ({"parameters": {"Work Mem": "4MB"}}, ("spec.parameters", "lower case")),
    "min-above-max": (
        {"readerAutoscaling": AUTOSCALING, "readers": 1},
        ("spec.readerAutoscaling.minReaders", "lower it"),
    ),
    "two-sizes": (
        {"instance": {"dbInstanceClass": "db.small", "resources": {"cpu": "1"}}},
        ("spec.instance.dbInstanceClass", "leave out one"),
    ),
    "database-name": ({"databaseName": "template1"}, ("spec.databaseName", "choose another name")),
    "storage-size": ({"storage": {"size": "lots"}}, ("spec.storage.size", "should match")),
}
# Changes of the quickstart that must be refused.
IMMUTABLE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "engine": ({"engine": "aurora-postgresql"}, ("spec.engine", "make a new cluster")),
    "storage-class": ({"storage": {"className": "other"}}, ("spec.storage.className", "make a new cluster")),
    "database-name": ({"databaseName": "other"}, ("spec.databaseName", "CREATE DATABASE")),
    "master-user": ({"masterUsername": "other"}, ("spec.masterUsername", "CREATE ROLE")),
    "version": ({"engineVersion": "16"}, ("spec.engineVersion", "set it to that", "leave it out")),
}


@pytest.fixture
def namespace(cluster: Kind) -> Iterator[str]:
    """A namespace for clusters that cannot come up, deleted with all of them."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    cluster.kubectl("delete", "dbclusters", "--all", "-n", NAMESPACE, "--timeout=150s", timeout=160)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s", timeout=130)


def test_refused(scenario: Scenario, cluster: Kind, quickstart: Database) -> None:
    """What the API server refuses names the field and the remedy."""
    for name, (change, words) in REFUSED.items():
        said = cluster.refused("apply", "--dry-run=server", "-f", "-", stdin=_manifest("refused", **change))
        _names(name, said, words)
    for name, (change, words) in IMMUTABLE.items():
        patch = json.dumps({"spec": change})
        command = ("patch", "dbcluster", quickstart.name, "--type=merge", "--dry-run=server", "--patch", patch)
        _names(name, cluster.refused(*command), words)
    scenario.figures["refused"] = len(REFUSED) + len(IMMUTABLE)


def test_deletion_protection(scenario: Scenario, cluster: Kind, quickstart: Database) -> None:
    """A protected cluster cannot be deleted, alone or with all others, until the protection is taken away."""
    uid = quickstart.raw()["metadata"]["uid"]
    _protect(cluster, quickstart, on=True)
    try:
        for which in (quickstart.name, "--all"):
            said = cluster.refused("delete", "dbcluster", which, "--dry-run=server", "--wait=false")
            _names(which, said, ("spec.deletionProtection", "kubectl patch dbcluster quickstart"))
        _names("for real", cluster.refused("delete", "dbcluster", quickstart.name), ("spec.deletionProtection",))
    finally:
        _protect(cluster, quickstart, on=False)
    cluster.kubectl("delete", "dbcluster", quickstart.name, "--dry-run=server", "--wait=false")
    now = quickstart.raw()["metadata"]
    assert (now["uid"], now.get("deletionTimestamp")) == (uid, None)
    assert scenario.lost == 0


def test_conditions(
    scenario: Scenario, cluster: Kind, quickstart: Database, release: Release, published: Images, namespace: str
) -> None:
    """What only kubelets, scheduler and operator can see becomes a condition that says what to do."""
    release.install(published, f"engine.images.{ABSENT}=localhost:1/borealis/absent:1")
    epoch, start = quickstart.status()["epoch"], time.monotonic()
    wanted: dict[str, tuple[dict[str, Any], str, str, str]] = {
        "no-image": ({"engineVersion": ABSENT}, "PodsRunning", "ImagePullFailed", "absent:1"),
        "no-class": (
            {"storage": {"size": "1Gi", "className": "none-such"}},
            "PodsRunning",
            "ClaimPending",
            "none-such",
        ),
        "no-node": ({"instance": {"resources": {"cpu": "999"}}}, "PodsRunning", "Unschedulable", "cpu"),
        "no-secret": ({"masterUserSecret": {"name": "none-such"}}, "MasterUserSecretReady", "", "none-such"),
    }
    for name, (change, *_) in wanted.items():
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=_manifest(name, **change))
    for name, (_, kind, reason, word) in wanted.items():
        database = Database(api=quickstart.api, namespace=namespace, name=name)
        told = database.await_condition(kind, "False", *([reason] if reason else []), timeout=150)
        scenario.figures[name] = f"{told['reason']}: {told['message']}"
        assert word in told["message"], told
    scenario.seconds = time.monotonic() - start
    whole = quickstart.await_whole(READERS, timeout=60)
    assert whole["epoch"] == epoch, "another cluster's mistake cost this one its writer"
    release.install(published)


def test_instances_of_users(scenario: Scenario, cluster: Kind, quickstart: Database, namespace: str) -> None:
    """A DBInstance for a missing cluster and one of an unknown class say so, and recover once that is put right."""
    _instance(cluster, namespace, "early", clusterName="late")
    told = _await_reason(cluster, namespace, "early", "ClusterMissing")
    assert "late" in told["message"], told
    cluster.kubectl(
        "apply", "-n", namespace, "-f", "-", stdin=_manifest("late", storage={"size": "1Gi", "className": "none"})
    )
    await_that("it resolves", lambda: _ready(cluster, namespace, "early")["reason"] != "ClusterMissing", timeout=60)
    _instance(cluster, "default", "quickstart-huge", clusterName=quickstart.name, dbInstanceClass="db.none-such")
    try:
        told = _await_reason(cluster, "default", "quickstart-huge", "UnknownClass")
        assert "db.small" in told["message"], told
        cluster.kubectl(
            "patch",
            "dbinstance",
            "quickstart-huge",
            "--type=merge",
            "--patch",
            '{"spec":{"dbInstanceClass":"db.small"}}',
        )
        _await_reason(cluster, "default", "quickstart-huge", "Available")
    finally:
        cluster.kubectl("delete", "dbinstance", "quickstart-huge", "--timeout=60s")
    scenario.figures["unknown_class"] = told["message"]
    quickstart.await_whole(READERS, timeout=120)


def _manifest(name: str, **change: Any) -> str:
    spec = SPEC | change
    return json.dumps({"apiVersion": API, "kind": "DBCluster", "metadata": {"name": name}, "spec": spec})


def _instance(cluster: Kind, namespace: str, name: str, **spec: Any) -> None:
    manifest = {"apiVersion": API, "kind": "DBInstance", "metadata": {"name": name}, "spec": spec}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))


def _ready(cluster: Kind, namespace: str, name: str) -> dict[str, Any]:
    told = json.loads(cluster.kubectl("get", "dbinstance", name, "-n", namespace, "-o", "json"))
    conditions: list[dict[str, Any]] = told.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == "Ready"), {"reason": "", "message": ""})


def _await_reason(cluster: Kind, namespace: str, name: str, reason: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        seen = _ready(cluster, namespace, name)
        return seen if seen["reason"] == reason else None

    return await_that(f"Ready of {name} says {reason}", there, timeout=90)


def _protect(cluster: Kind, database: Database, *, on: bool) -> None:
    patch = json.dumps({"spec": {"deletionProtection": on}})
    cluster.kubectl("patch", "dbcluster", database.name, "--type=merge", "--patch", patch)


def _names(what: str, said: str, words: tuple[str, ...]) -> None:
    missing = [word for word in words if word not in said]
    assert not missing, f"{what}: the refusal does not say {missing}: {said}"
