"""Parameters by reload and by restart, passwords and TLS, on real PostgreSQL while an application writes."""

import base64
from pathlib import Path
from typing import Any

import psycopg
import pytest
from borealis_local.trial import Local

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

API = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"
ROLLED, VALUE = "autovacuum_max_workers", "5"  # PostgreSQL takes it at its start only
PAUSE_S = 15.0  # of writes, on a machine that does other things too


def condition(local: Local, kind: str) -> dict[str, Any]:
    """A condition of the present generation; empty if it is of an older one."""
    status = local.status()
    told = {c["type"]: c for c in status.get("conditions", ())}.get(kind, {})
    live = local.client().request("GET", "/apis/borealis.dev/v1alpha1/namespaces/default/dbclusters/quickstart")
    return dict(told) if told.get("observedGeneration") == live["metadata"]["generation"] else {}


def show(local: Local, name: str, *options: str) -> str:
    return local.borealis("local", "psql", *options, "--", "-Atc", f"show {name}")


def instances(local: Local) -> list[str]:
    return sorted(name for name in local.names("pods") if "-instance-" in name)


def secret(local: Local, name: str) -> dict[str, str]:
    data = local.client().request("GET", f"{API}/secrets/{name}")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def connect(local: Local, folder: Path, **changes: str) -> "psycopg.Connection[Any]":
    """Connect as an application in Kubernetes would, by the Service's name and with nothing but the Secret."""
    master = secret(local, "quickstart-master")
    (folder / "ca.crt").write_text(master["ca.crt"])
    address = local.client().request("GET", f"{API}/services/quickstart")["spec"]["clusterIP"]
    usual = {
        "host": master["host"],
        "hostaddr": address,
        "user": master["username"],
        "password": master["password"],
        "dbname": master["dbname"],
        "sslmode": "verify-full",
        "sslrootcert": str(folder / "ca.crt"),
    }
    return psycopg.connect(**(usual | changes), connect_timeout=10)


def test_what_reloads_holds_everywhere_and_ends_no_session(healthy: Local, tmp_path: Path) -> None:
    before = instances(healthy)
    with connect(healthy, tmp_path) as session:
        healthy.patch({"parameters": {"work_mem": "9MB"}})
        healthy.until(lambda: show(healthy, "work_mem") == "9MB", "the writer did not take it")
        healthy.until(lambda: show(healthy, "work_mem", "--reader") == "9MB", "the reader did not take it")
        healthy.until(lambda: condition(healthy, "ParametersApplied").get("status") == "True", "it was not told")
        assert session.execute("show work_mem").fetchone() == ("9MB",)
    assert instances(healthy) == before


def test_extensions_are_made_as_asked_and_what_cannot_be_is_named(healthy: Local) -> None:
    def told() -> tuple[str, str]:
        found = condition(healthy, "ExtensionsReady")
        return found.get("reason", ""), found.get("message", "")

    healthy.patch({"extensions": [{"name": "postgres_fdw"}, {"name": "hstore", "database": "nowhere"}]})
    healthy.until(lambda: told()[0] == "ExtensionRefused", "it was not told")
    assert "hstore in nowhere: there is no database nowhere" in told()[1]
    healthy.patch({"extensions": [{"name": "postgres_fdw"}]})
    healthy.until(lambda: told()[0] == "Ready", f"it was not made: {told()}")
    healthy.borealis("local", "psql", "--", "-c", "create server other foreign data wrapper postgres_fdw")
    healthy.patch({"extensions": None})

    healthy.until(lambda: "ExtensionsReady" not in str(healthy.status()["conditions"]), "the condition stayed")
    assert "postgres_fdw" in healthy.borealis("local", "psql", "--", "-Atc", "select extname from pg_extension")


def test_what_takes_a_restart_rolls_under_load_and_loses_nothing(healthy: Local) -> None:
    before, writer = instances(healthy), healthy.status()["writer"]
    with healthy.ledger() as ledger:
        healthy.patch({"parameters": {ROLLED: VALUE, "wal_level": "logical"}})
        healthy.until(lambda: condition(healthy, "InstancesUpToDate").get("status") == "False", "no rollout began")
        healthy.until(lambda: not set(before) & set(instances(healthy)), "not all were restarted")
        healthy.until(lambda: condition(healthy, "InstancesUpToDate").get("status") == "True", "it did not end")
        result = ledger.audit()
    assert (result["lost"], result["doubled"], result["risen"]) == (0, 0, 0)
    assert result["acked"] > 0
    assert result["longest_gap"] < PAUSE_S
    assert healthy.status()["writer"] != writer
    assert show(healthy, ROLLED) == show(healthy, ROLLED, "--reader") == VALUE
    assert show(healthy, "wal_level") == show(healthy, "wal_level", "--reader") == "logical"
    assert condition(healthy, "ParametersApplied")["reason"] == "Applied"
    events = healthy.client().request("GET", f"{API}/events")["items"]
    reasons = [event["reason"] for event in events]
    assert reasons.count("InstanceRestarting") == len(before) - 1
    assert reasons.count("SwitchoverStarted") == reasons.count("RolloutCompleted") == 1


def test_a_value_that_postgresql_does_not_start_with_costs_nothing_but_itself(healthy: Local) -> None:
    before, writer = instances(healthy), healthy.status()["writer"]
    healthy.patch({"parameters": {"huge_pages": "on"}})  # of which this machine reserves none
    healthy.until(lambda: condition(healthy, "ParametersApplied").get("reason") == "ParameterRefused", "no refusal")
    assert "spec.parameters.huge_pages" in condition(healthy, "ParametersApplied")["message"]
    assert condition(healthy, "InstancesUpToDate")["status"] == "True"
    assert (set(instances(healthy)), healthy.status()["writer"]) == (set(before), writer)
    healthy.patch({"parameters": {"huge_pages": None}})
    healthy.until(lambda: condition(healthy, "ParametersApplied").get("reason") == "Applied", "it was not taken back")
    healthy.until(lambda: condition(healthy, "InstancesUpToDate").get("status") == "True", "the rollout did not end")
    healthy.until(lambda: show(healthy, ROLLED, "--reader") == VALUE, "the reader lost the other parameters")


def test_verify_full_by_the_services_name_and_by_no_other(healthy: Local, tmp_path: Path) -> None:
    with connect(healthy, tmp_path) as session:
        row = session.execute("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
        assert row == (True, "TLSv1.3")
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        connect(healthy, tmp_path, host="elsewhere.default.svc")
    assert secret(healthy, "quickstart-server-ca")["ca.crt"] == (tmp_path / "ca.crt").read_text()


def test_a_changed_password_is_in_force_and_a_bad_one_changes_nothing(healthy: Local, tmp_path: Path) -> None:
    def works(password: str) -> bool:
        try:
            connect(healthy, tmp_path, password=password).close()
        except psycopg.OperationalError:
            return False
        return True

    def write(password: str) -> None:
        data = {"password": base64.b64encode(password.encode()).decode()}
        healthy.client().request("PATCH", f"{API}/secrets/quickstart-master", {"data": data}, kind=MERGE)

    first = secret(healthy, "quickstart-master")["password"]
    write("a-better-password")
    healthy.until(lambda: works("a-better-password"), "it is not in force")
    assert not works(first)
    write("short")
    healthy.until(
        lambda: condition(healthy, "MasterUserSecretReady").get("reason") == "PasswordTooShort", "it was not told"
    )
    assert works("a-better-password")
    assert not works("short")
    write("a-better-password")
    healthy.until(lambda: condition(healthy, "MasterUserSecretReady").get("status") == "True", "it was not told")
