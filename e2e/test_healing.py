"""Lost disks: under load a storage node loses its claim, then a whole Kubernetes node goes for good; six of six return.

No commit may fail meanwhile: four others are always there. What was lost is named in status and events.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.conftest import READERS
from e2e.database import ZONE, Database
from e2e.healing import await_replaced, judge_without_failover
from e2e.kind import Kind
from e2e.process import await_that
from e2e.release import Release
from e2e.report import Scenario
from e2e.workload import Client, Ledger

pytestmark = pytest.mark.usefixtures("impatient")


def test_claim_of_storage_node_deleted(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """A storage pod deleted with its claim under load: a new one takes its place, and no commit fails."""
    old = quickstart.await_whole(READERS, timeout=180)
    victim = quickstart.storage_away_from_writer()["metadata"]["name"]
    with Ledger(client=client, url=quickstart.url(), name="claim") as ledger:
        cluster.kubectl("delete", "pvc", victim, "--wait=false")
        cluster.kubectl("delete", "pod", victim, "--wait=false")
        await_replaced(scenario, quickstart, old, victim)
        ledger.await_commits(200, timeout=60)
    judge_without_failover(scenario, quickstart, ledger, old)
    await_that("the old claim is gone", lambda: not _there(cluster, "pvc", victim), timeout=60)
    _await_events(cluster, "ReplacementStarted", "ReplacementCompleted")


def test_kubernetes_node_gone(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, release: Release
) -> None:
    """A Kubernetes node killed and deleted under load: its storage node comes up elsewhere, and no commit fails."""
    old = quickstart.await_whole(READERS, timeout=180)
    victim = quickstart.storage_away_from_writer()
    name, node = victim["metadata"]["name"], victim["spec"]["nodeName"]
    zone = quickstart.zones()[node]
    scenario.figures["operator_moved_away_before"] = release.avoid(node)
    with Ledger(client=client, url=quickstart.url(), name="node") as ledger, _gone(cluster, node):
        await_replaced(scenario, quickstart, old, name)
        ledger.await_commits(200, timeout=60)
        places = {p["metadata"]["name"]: p["spec"].get("nodeName") for p in quickstart.pods(component="storage")}
        assert node not in places.values(), places
        assert set(quickstart.storage_per_zone().values()) == {2}, places
        assert quickstart.storage_per_zone()[zone] == 2, places
    judge_without_failover(scenario, quickstart, ledger, old)


@contextmanager
def _gone(cluster: Kind, node: str) -> Iterator[None]:
    """Have a Kubernetes node dead and deleted; afterwards it registers itself anew, with its labels."""
    cluster.stop(node)
    try:
        cluster.kubectl("delete", "node", node, "--wait=false")
        yield
    finally:
        cluster.start(node)
        await_that(f"{node} is there again", lambda: _there(cluster, "node", node), timeout=120)
        cluster.kubectl("wait", "--for=condition=Ready", f"node/{node}", "--timeout=120s", timeout=130)
        assert ZONE in cluster.kubectl("get", "node", node, "-o", "jsonpath={.metadata.labels}")


def _there(cluster: Kind, kind: str, name: str) -> bool:
    return bool(cluster.kubectl("get", kind, name, "--ignore-not-found", "-o", "name").strip())


def _await_events(cluster: Kind, *reasons: str) -> None:
    def posted() -> bool:
        told = cluster.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
        return set(reasons) <= set(told)

    await_that(f"events {', '.join(reasons)}", posted, timeout=30)
