"""The thin path on Kubernetes: install, use, break; each scenario finds what the earlier ones left.

Each fault strikes under load; afterwards no acknowledged commit may be missing, and the gap must be below a minute.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

import psycopg

from e2e import scripts
from e2e.conftest import READERS, again
from e2e.database import Database
from e2e.images import Images
from e2e.kind import Kind
from e2e.process import await_that, run
from e2e.release import Release
from e2e.report import Scenario
from e2e.workload import Client, Ledger

LIMIT_S = 60


def test_install(scenario: Scenario, cluster: Kind, published: Images, release: Release, database: Database) -> None:
    """Install by helm, apply the quickstart, and everything lies where it should."""
    release.install(published)
    cluster.kubectl("apply", "--dry-run=server", "-f", "deploy/borealis.yaml")  # the plain way says the same
    start = time.monotonic()
    cluster.kubectl("apply", "-f", "examples/quickstart.yaml")
    cluster.kubectl("wait", "--for=condition=Ready", f"dbcluster/{database.name}", "--timeout=300s", timeout=310)
    scenario.seconds = time.monotonic() - start
    database.await_whole(READERS, timeout=60)
    storage = database.pods(component="storage")
    assert len({pod["spec"]["nodeName"] for pod in storage}) == 6
    assert set(database.storage_per_zone().values()) == {2}
    writer, readers = database.writer(), database.pods(role="reader")
    assert len({database.zone_of(pod) for pod in (writer, *readers)}) == READERS + 1


def test_sql(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """SQL through both endpoints, through port-forward, and from every reader."""
    quickstart.await_whole(READERS, timeout=120)
    done = json.loads(client.python(scripts.SQLALCHEMY, quickstart.url(), quickstart.reader_url()))
    assert done["rows"] == scripts.ROWS
    assert done["reader_recovers"], "the reader endpoint led to the writer although there are readers"
    scenario.acked = done["rows"] + _insert_by_port_forward(cluster, quickstart)
    addresses = [pod["status"]["podIP"] for pod in quickstart.pods(role="reader")]
    urls = [quickstart.url(address) for address in addresses]
    lags = json.loads(client.python(scripts.READ_EVERYWHERE, quickstart.url(), *urls))
    assert len(lags) == READERS
    scenario.seconds = max(lags)
    scenario.figures["reader_lag_seconds"] = lags


@again
def test_writer_process_killed(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, repeat: str
) -> None:
    """The writer's PostgreSQL killed by SIGKILL under load."""
    old = quickstart.await_whole(READERS, timeout=180)
    with Ledger(client=client, url=quickstart.url(), name=f"sigkill-{repeat}") as ledger:
        cluster.kubectl("exec", "-i", old["writer"], "--", "python3", "-", stdin=scripts.KILL_POSTMASTER)
        _await_failover(quickstart, ledger, old)
    _judge(scenario, ledger)
    _settle(scenario, quickstart)


@again
def test_writer_pod_deleted(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, repeat: str
) -> None:
    """The writer's pod deleted under load."""
    old = quickstart.await_whole(READERS, timeout=180)
    with Ledger(client=client, url=quickstart.url(), name=f"pod-{repeat}") as ledger:
        cluster.kubectl("delete", "pod", old["writer"], "--wait=false")
        _await_failover(quickstart, ledger, old)
    _judge(scenario, ledger)
    _settle(scenario, quickstart)


def test_zone_of_storage_lost(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """A zone's storage nodes cordoned and their pods deleted under load: no commit fails."""
    old = quickstart.await_whole(READERS, timeout=180)
    zones, zone = quickstart.zones(), quickstart.zone_of(quickstart.writer())
    nodes = [node for node, where in zones.items() if where == zone]
    victims = [p["metadata"]["name"] for p in quickstart.pods(component="storage") if p["spec"]["nodeName"] in nodes]
    with Ledger(client=client, url=quickstart.url(), name="zone") as ledger:
        cluster.kubectl("cordon", *nodes)
        try:
            cluster.kubectl("delete", "pods", "--wait=false", *victims)
            await_that("storage is 4/6", lambda: quickstart.status()["storage"] == "4/6", timeout=60)
            ledger.await_commits(200, timeout=60)
        finally:
            cluster.kubectl("uncordon", *nodes)
        start = time.monotonic()
        await_that("storage is 6/6", lambda: quickstart.status()["storage"] == "6/6", timeout=180)
        scenario.figures["seconds_to_six_of_six"] = round(time.monotonic() - start, 1)
    _judge(scenario, ledger)
    assert ledger.summary["refused"] == ledger.summary["unknown"] == 0, ledger.summary
    assert quickstart.await_whole(READERS, timeout=60)["epoch"] == old["epoch"]


@again
def test_writer_node_frozen(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, release: Release, repeat: str
) -> None:
    """The writer's Kubernetes node frozen, failover, node resumed: the old writer can commit nothing."""
    old = quickstart.await_whole(READERS, timeout=180)
    writer = quickstart.writer()
    node, url = writer["spec"]["nodeName"], quickstart.url(writer["status"]["podIP"])
    scenario.figures["operator_moved_away_before"] = release.avoid(node)
    with (
        client.converse(scripts.HOLD_TRANSACTION, url) as session,
        Ledger(client=client, url=quickstart.url(), name=f"frozen-{repeat}") as ledger,
    ):
        cluster.pause(node)
        try:
            _await_failover(quickstart, ledger, old)
        finally:
            cluster.resume(node)
        said = json.loads(session.communicate("commit\n", timeout=60)[0])
    _judge(scenario, ledger)
    scenario.figures["old_writer_said"] = said
    assert said["commit"] == "failed", said
    assert said["insert"] == "failed", said
    _settle(scenario, quickstart)
    assert client.python(scripts.COUNT_HELD, quickstart.url()).strip() == "0"


@again
def test_operator_killed_in_failover(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, release: Release, repeat: str
) -> None:
    """The operator killed when its event says that a failover started: it converges."""
    old = quickstart.await_whole(READERS, timeout=180)
    release.renew()
    victims = release.processes()
    with (
        cluster.watch("events", "--field-selector=reason=FailoverStarted") as events,
        Ledger(client=client, url=quickstart.url(), name=f"operator-{repeat}") as ledger,
    ):
        cluster.kubectl("exec", "-i", old["writer"], "--", "python3", "-", stdin=scripts.KILL_POSTMASTER)
        assert events.readline(), "kubectl ended without the event"
        for node, pid in victims:
            cluster.kill(node, pid)
        _await_failover(quickstart, ledger, old)
    _judge(scenario, ledger)
    release.await_ready(60)
    _settle(scenario, quickstart)


def test_scale(scenario: Scenario, cluster: Kind, quickstart: Database) -> None:
    """Readers added and removed by kubectl scale."""
    quickstart.await_whole(READERS, timeout=180)
    start = time.monotonic()
    cluster.kubectl("scale", f"dbcluster/{quickstart.name}", f"--replicas={READERS + 1}")
    quickstart.await_whole(READERS + 1, timeout=120)
    scenario.seconds = time.monotonic() - start
    cluster.kubectl("scale", f"dbcluster/{quickstart.name}", f"--replicas={READERS}")
    await_that("pods are gone", lambda: len(quickstart.pods(component="instance")) == READERS + 1, timeout=120)
    quickstart.await_whole(READERS, timeout=60)


def test_conformance(scenario: Scenario, cluster: Kind) -> None:
    """The conformance suite of the local API server holds for Kubernetes itself."""
    env = os.environ | {"CONFORMANCE_KUBECONFIG": str(cluster.kubeconfig)}
    start = time.monotonic()
    scenario.figures["pytest"] = (
        run(sys.executable, "-m", "pytest", "local/tests/conformance", "-p", "no:cacheprovider", timeout=300, env=env)
        .strip()
        .splitlines()[-1]
    )
    scenario.seconds = time.monotonic() - start


def _await_failover(database: Database, ledger: Ledger, old: dict[str, Any]) -> None:
    def changed() -> bool:
        status = database.status()
        return bool(status.get("writer")) and status["epoch"] > old["epoch"]

    await_that("the writer of a later epoch", changed, timeout=LIMIT_S)
    ledger.await_commits(50, timeout=LIMIT_S)


def _settle(scenario: Scenario, database: Database) -> None:
    start = time.monotonic()
    database.await_whole(READERS, timeout=240)
    scenario.figures["seconds_until_whole_again"] = round(time.monotonic() - start, 1)


def _judge(scenario: Scenario, ledger: Ledger) -> None:
    ledger.judge(scenario)
    assert scenario.lost == 0
    assert scenario.seconds < LIMIT_S


def _insert_by_port_forward(cluster: Kind, database: Database) -> int:
    words = cluster.kubectl_command("port-forward", f"pod/{database.status()['writer']}", ":5432")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout
            port = int(forward.stdout.readline().split(":")[1].split()[0])
            with psycopg.connect(database.url("127.0.0.1", port), connect_timeout=20) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS forwarded (id int)")
                return connection.execute("INSERT INTO forwarded VALUES (1)").rowcount
        finally:
            forward.terminate()
