"""Who may reach a database's pods, and what those who have no certificate can do to them: nothing."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from e2e import scripts
from e2e.conftest import READERS
from e2e.database import Database
from e2e.images import Images
from e2e.kind import Kind
from e2e.process import await_that
from e2e.report import Scenario
from e2e.workload import Client, Ledger

CLIENTS, LOG, COMMANDS = 5432, 7400, 7401
HANDSHAKES = 300  # at once to each storage node
ATTACK_S = 15  # before the writer is killed: every deadline of a handshake has passed by then
LIMIT_S = 15
APPLIED_S = 30
OPENED = "opened-7400"


def test_network_policies(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, published: Images
) -> None:
    """Only allowedClients reach PostgreSQL; no stranger reaches the ports of storage nodes and agents."""
    old = quickstart.await_whole(READERS, timeout=180)
    guest = Client(kind=cluster, pod="guest")
    guest.start(published.client, may="connect")
    try:
        instances = [pod["status"]["podIP"] for pod in quickstart.pods(component="instance")]
        storage = [pod["status"]["podIP"] for pod in quickstart.pods(component="storage")]
        sql = [f"{address}:{CLIENTS}" for address in instances]
        inner = [f"{address}:{COMMANDS}" for address in instances]
        inner += [f"{address}:{port}" for address in storage for port in (LOG, COMMANDS)]
        assert all(_reached(client, sql).values()), "without allowedClients everybody is one"
        _assert_none(client, inner)
        with _allowed(cluster, quickstart, {"podSelector": {"matchLabels": {"may": "connect"}}}):
            await_that("strangers are kept out", lambda: not any(_reached(client, sql).values()), timeout=APPLIED_S)
            assert all(_reached(guest, sql).values()), "who is allowed does not reach PostgreSQL"
            assert guest.python(scripts.ONE, quickstart.url()).strip() == "1"
            _assert_none(guest, inner)
            assert quickstart.await_whole(READERS, timeout=60)["epoch"] == old["epoch"], "there was a failover"
        start = time.monotonic()
        await_that("everybody is let in", lambda: all(_reached(client, sql).values()), timeout=APPLIED_S)
        scenario.figures["seconds_to_let_in"] = round(time.monotonic() - start, 1)
    finally:
        cluster.kubectl("delete", "pod", guest.pod)


def test_slow_handshakes(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """300 handshakes of a byte a second against each of the six while the writer is killed: the failover is as ever."""
    old = quickstart.await_whole(READERS, timeout=180)
    addresses = [pod["status"]["podIP"] for pod in quickstart.pods(component="storage")]
    with (
        _opened(cluster, client, quickstart, addresses),
        Ledger(client=client, url=quickstart.url(), name="handshakes") as ledger,
        client.converse(scripts.SLOW_HANDSHAKES, str(HANDSHAKES), str(LOG), *addresses) as slow,
    ):
        time.sleep(ATTACK_S)
        ledger.await_commits(50, timeout=60)
        cluster.kubectl("exec", "-i", old["writer"], "--", "python3", "-", stdin=scripts.KILL_POSTMASTER)
        await_that("a later epoch", lambda: quickstart.status()["epoch"] > old["epoch"], timeout=60)
        ledger.await_commits(50, timeout=60)
        told, _ = slow.communicate("\n", timeout=30)
        scenario.figures["handshakes"] = json.loads(told)
        assert scenario.figures["handshakes"]["opened"] >= HANDSHAKES, told
    ledger.judge(scenario)
    assert scenario.lost == 0
    assert scenario.seconds < LIMIT_S
    quickstart.await_whole(READERS, timeout=240)


def _reached(client: Client, places: list[str]) -> dict[str, bool]:
    return dict(json.loads(client.python(scripts.REACH, *places, timeout=120)))


def _assert_none(client: Client, places: list[str]) -> None:
    reached = [place for place, open_ in _reached(client, places).items() if open_]
    assert not reached, f"{client.pod} reaches {reached}"


@contextmanager
def _allowed(cluster: Kind, database: Database, *peers: object) -> Iterator[None]:
    """Have only these as clients; afterwards everybody."""
    words = ("patch", "dbcluster", database.name, "--type", "merge", "-p")
    cluster.kubectl(*words, json.dumps({"spec": {"allowedClients": peers}}))
    try:
        yield
    finally:
        cluster.kubectl(*words, json.dumps({"spec": {"allowedClients": None}}))


@contextmanager
def _opened(cluster: Kind, client: Client, database: Database, addresses: list[str]) -> Iterator[None]:
    """Let everybody reach the storage nodes' port, for here it is they who defend themselves; then no longer."""
    spec = {
        "podSelector": {"matchLabels": {"borealis.dev/cluster": database.name, "borealis.dev/component": "storage"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": LOG}]}],
    }
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": OPENED}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(policy))
    try:
        places = [f"{address}:{LOG}" for address in addresses]
        await_that("the port is open", lambda: all(_reached(client, places).values()), timeout=APPLIED_S)
        yield
    finally:
        cluster.kubectl("delete", "networkpolicy", OPENED)
