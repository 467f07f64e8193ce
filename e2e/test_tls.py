"""What clients rely upon to know the server and to be known: certificates under the endpoints' names, and passwords.

The CA alone is in a Secret that applications may mount; nobody needs a key of the operator's for it.
"""

import base64
import json
import secrets
import time
from collections.abc import Iterator

import pytest

from e2e import scripts
from e2e.conftest import READERS
from e2e.database import Database
from e2e.kind import Kind
from e2e.process import await_that
from e2e.report import Scenario
from e2e.workload import Client, Ledger

OWN = "quickstart-own"


@pytest.fixture(scope="module")
def certified(client: Client, cluster: Kind, quickstart: Database) -> Database:
    """The quickstart, whose public CA the client's pod has as a file."""
    held = json.loads(cluster.kubectl("get", "secret", f"{quickstart.name}-server-ca", "-o", "json"))["data"]
    assert sorted(held) == ["ca.crt"], f"the Secret for clients holds {sorted(held)}"
    client.shell('printf %s "$1" > /tmp/ca.crt', base64.b64decode(held["ca.crt"]).decode())
    return quickstart


@pytest.fixture
def own_secret(cluster: Kind, quickstart: Database) -> Iterator[str]:
    """A Secret of the user's own, from which the quickstart takes the master user's password during the scenario."""
    _put(cluster, secrets.token_urlsafe(18))
    _patch(cluster, quickstart, {"name": OWN})
    yield OWN
    _patch(cluster, quickstart, None)
    cluster.kubectl("delete", "secret", OWN)
    quickstart.await_whole(READERS, timeout=60)


def test_verify_full(scenario: Scenario, client: Client, certified: Database) -> None:
    """sslmode=verify-full from a pod, by every name of both endpoints; any other name is refused."""
    name, space = certified.name, certified.namespace
    for service in (name, f"{name}-ro"):
        for host in (service, f"{service}.{space}", f"{service}.{space}.svc", f"{service}.{space}.svc.cluster.local"):
            told = json.loads(client.python(scripts.VERIFY_FULL, certified.url(host)))
            assert told.get("ssl") is True, f"{host}: {told}"
            scenario.figures.setdefault("tls", told["version"])
    scenario.figures["names"] = 8
    address = certified.writer()["status"]["podIP"]
    told = json.loads(client.python(scripts.VERIFY_FULL, certified.url("elsewhere.example"), address))
    assert "elsewhere.example" in told.get("error", "does not match"), told
    scenario.figures["wrong_name"] = told["error"]
    told = json.loads(client.python(scripts.VERIFY_FULL, certified.url(), "", "/etc/ssl/certs/ca-certificates.crt"))
    assert "certificate verify failed" in told.get("error", ""), told


def test_after_failover(scenario: Scenario, cluster: Kind, client: Client, certified: Database) -> None:
    """The next writer is known by the same name and CA."""
    old = certified.await_whole(READERS, timeout=120)
    start = time.monotonic()
    cluster.kubectl("delete", "pod", old["writer"], "--wait=false")
    await_that("a failover", lambda: certified.status()["epoch"] > old["epoch"], timeout=60)

    def known() -> bool:
        return json.loads(client.python(scripts.VERIFY_FULL, certified.url())).get("recovers") is False

    await_that("the new writer is known", known, timeout=60)
    scenario.seconds = time.monotonic() - start
    certified.await_whole(READERS, timeout=180)


def test_password_changes(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, own_secret: str
) -> None:
    """A changed password Secret is applied under load: no connection ends, the old password is refused."""
    first = _await_password(scenario, cluster, client, quickstart, own_secret)
    with Ledger(client=client, url=quickstart.url(), name="password") as ledger:
        _put(cluster, secrets.token_urlsafe(18))
        second = _await_password(scenario, cluster, client, quickstart, own_secret)
        ledger.await_commits(100, timeout=30)
    assert first != second
    assert ledger.summary["refused"] == ledger.summary["unknown"] == 0, ledger.summary
    ledger.url = quickstart.url()
    ledger.judge(scenario)
    said = client.python(scripts.ATTEMPT, first)
    assert "password authentication failed" in said, said


def _await_password(scenario: Scenario, cluster: Kind, client: Client, database: Database, secret: str) -> str:
    """Wait until the password of the user's Secret opens the database; give the URI of the connection Secret."""
    told = json.loads(cluster.kubectl("get", "secret", secret, "-o", "json"))["data"]["password"]
    password, start = base64.b64decode(told).decode(), time.monotonic()
    await_that("the connection Secret follows", lambda: database.credentials()["password"] == password, timeout=60)
    url = database.url()
    await_that("the password is in force", lambda: client.python(scripts.ATTEMPT, url).strip() == "ok", timeout=60)
    scenario.figures["seconds_to_new_password"] = round(time.monotonic() - start, 1)
    return url


def _put(cluster: Kind, password: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": OWN}, "stringData": {"password": password}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def _patch(cluster: Kind, database: Database, secret: dict[str, str] | None) -> None:
    patch = json.dumps({"spec": {"masterUserSecret": secret}})
    cluster.kubectl("patch", "dbcluster", database.name, "--type=merge", "--patch", patch)
