"""Bad input that the API server refuses: each answer names the field and the remedy, word for word."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from borealis_engine.contract.extensions import ALLOWED
from borealis_engine.contract.settings import OWN
from borealis_local.cli import background
from borealis_local.cli.client import Client, RequestFailed
from borealis_local.cli.commands import apply_crds
from borealis_local.state import State

API = "borealis.dev/v1alpha1"
BASE = f"/apis/{API}/namespaces/default"
MERGE = "application/merge-patch+json"
UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a fresh API server with the project's CRDs and policies; no operator, nothing runs."""
    root = Path(tempfile.mkdtemp(prefix="blb"))
    state = State(root=root)
    try:
        client = background.start(state, operator=False)
        apply_crds(client)
        yield client
    finally:
        background.stop(state)
        shutil.rmtree(root, ignore_errors=True)


def create(client: Client, kind: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}
    client.request("POST", f"{BASE}/{kind.lower()}s?fieldValidation=Strict", body)


def refusal(client: Client, kind: str, spec: dict[str, Any], name: str = "bad") -> str:
    """Give what is said of an object after `<Kind> "<name>" is invalid: `."""
    with pytest.raises(RequestFailed) as caught:
        create(client, kind, name, spec)
    head = f'{kind}.borealis.dev "{name}" is invalid: '
    assert caught.value.code == 422, caught.value
    assert str(caught.value).startswith(head), caught.value
    return str(caught.value).removeprefix(head)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param(
            {"readers": 16},
            "spec.readers: Invalid value: 16: spec.readers in body should be less than or equal to 15",
            id="too many readers",
        ),
        pytest.param(
            {"readers": -1},
            "[spec.readers: Invalid value: -1: spec.readers in body should be greater than or equal to 0, "
            ".spec.readers: Invalid value: -1: should be a non-negative integer]",
            id="readers below zero",
        ),
        pytest.param(
            {"engine": "mysql"},
            '[spec.engine: Unsupported value: "mysql": supported values: "postgresql", "aurora-postgresql", '
            f"{UNCHECKED}]",
            id="unknown engine",
        ),
        pytest.param(
            {"engineVersion": "9.6"},
            '[spec.engineVersion: Unsupported value: "9.6": supported values: "15", "16", "17", ' + UNCHECKED + "]",
            id="unknown version",
        ),
        pytest.param(
            {"parameters": {"fsync": "off"}},
            'spec.parameters: Invalid value: "object": spec.parameters: fsync is set by Borealis itself; leave it out',
            id="reserved parameter",
        ),
        pytest.param(
            {"parameters": {"Work_Mem": "4MB"}},
            'spec.parameters: Invalid value: "object": spec.parameters: a name is not one of PostgreSQL; write it in '
            "lower case, with digits, underscores and at most one dot, such as work_mem",
            id="impossible parameter",
        ),
        pytest.param(
            {"readerAutoscaling": {"minReaders": 5, "maxReaders": 2}},
            'spec.readerAutoscaling: Invalid value: "object": spec.readerAutoscaling.minReaders: must not exceed '
            "maxReaders; lower it, or raise maxReaders",
            id="more readers at least than at most",
        ),
        pytest.param(
            {"readers": 0, "readerAutoscaling": {"maxReaders": 2}},
            'spec: Invalid value: "object": spec.readers: must be 1 or more beside spec.readerAutoscaling, because a '
            "HorizontalPodAutoscaler does not act on 0; leave it out",
            id="autoscaling from no reader",
        ),
        pytest.param(
            {"readerAutoscaling": {"minReaders": 2}},
            f"[spec.readerAutoscaling.maxReaders: Required value, {UNCHECKED}]",
            id="autoscaling without an upper end",
        ),
        pytest.param(
            {"instance": {"dbInstanceClass": "db.small", "resources": {"cpu": 1}}},
            'spec.instance: Invalid value: "object": spec.instance.dbInstanceClass: cannot stand beside '
            "spec.instance.resources; leave out one of them",
            id="class beside resources",
        ),
        pytest.param(
            {"databaseName": "postgres"},
            'spec.databaseName: Invalid value: "string": spec.databaseName: is reserved by PostgreSQL; choose '
            "another name, or leave it out to use postgres",
            id="reserved database",
        ),
        pytest.param(
            {"extensions": [{"name": "adminpack"}]},
            '[spec.extensions[0].name: Unsupported value: "adminpack": supported values: '
            + "".join(f'"{name}", ' for name in sorted(ALLOWED))
            + f"{UNCHECKED}]",
            id="extension that gives files",
        ),
        pytest.param(
            {"masterUsername": "pg_admin"},
            'spec.masterUsername: Invalid value: "string": spec.masterUsername: is reserved by PostgreSQL; choose '
            "another name, such as borealis",
            id="reserved user",
        ),
    ],
)
def test_a_bad_cluster(client: Client, spec: dict[str, Any], told: str) -> None:
    assert refusal(client, "DBCluster", spec) == told


def test_parameters_of_borealis_are_refused_by_name(client: Client) -> None:
    for name in sorted(OWN)[::10]:  # the whole list is compared with the contract elsewhere
        told = refusal(client, "DBCluster", {"parameters": {"work_mem": "4MB", name: "1"}})
        assert told.endswith(f": spec.parameters: {name} is set by Borealis itself; leave it out")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            {"engine": "aurora-postgresql"},
            'spec.engine: Invalid value: "string": spec.engine: cannot change; make a new cluster',
            id="engine",
        ),
        pytest.param(
            {"engineVersion": "17"},
            'spec: Invalid value: "object": spec.engineVersion: cannot change, because major version upgrades are not '
            "available in this release; keep the old value",
            id="version",
        ),
        pytest.param(
            {"storage": {"className": "slow"}},
            'spec.storage: Invalid value: "object": spec.storage.className: cannot change; make a new cluster',
            id="storage class",
        ),
        pytest.param(
            {"storage": {"size": "20Gi"}},
            'spec.storage: Invalid value: "object": spec.storage.size: cannot change in this release; '
            "keep the old value",
            id="storage size",
        ),
        pytest.param(
            {"databaseName": "other"},
            'spec: Invalid value: "object": spec.databaseName: cannot change; create further databases with '
            "CREATE DATABASE",
            id="database",
        ),
        pytest.param(
            {"masterUsername": "other"},
            'spec.masterUsername: Invalid value: "string": spec.masterUsername: cannot change; create further users '
            "with CREATE ROLE",
            id="master user",
        ),
    ],
)
def test_what_cannot_change(client: Client, change: dict[str, Any], told: str) -> None:
    spec = {"engineVersion": "16", "storage": {"className": "fast"}, "databaseName": "app", "masterUsername": "app"}
    if client.find(f"{BASE}/dbclusters/fixed") is None:
        create(client, "DBCluster", "fixed", spec)
    with pytest.raises(RequestFailed) as caught:
        client.request("PATCH", f"{BASE}/dbclusters/fixed", {"spec": change}, kind=MERGE)
    assert caught.value.code == 422
    assert str(caught.value) == f'DBCluster.borealis.dev "fixed" is invalid: {told}'


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param(
            {"clusterName": "q", "promotionTier": 16},
            "spec.promotionTier: Invalid value: 16: spec.promotionTier in body should be less than or equal to 15",
            id="tier",
        ),
        pytest.param({}, f"[spec.clusterName: Required value, {UNCHECKED}]", id="no cluster"),
    ],
)
def test_a_bad_instance(client: Client, spec: dict[str, Any], told: str) -> None:
    assert refusal(client, "DBInstance", spec) == told


def test_a_misspelt_field_is_named(client: Client) -> None:
    with pytest.raises(RequestFailed, match=r'unknown field "spec\.reader"'):
        create(client, "DBCluster", "bad", {"reader": 1})


def test_a_protected_cluster_is_not_deleted(client: Client) -> None:
    create(client, "DBCluster", "kept", {"deletionProtection": True})
    path = f"{BASE}/dbclusters/kept"
    with pytest.raises(RequestFailed) as caught:
        client.request("DELETE", path)
    assert caught.value.code == 403
    assert str(caught.value) == (
        "dbclusters.borealis.dev \"kept\" is forbidden: ValidatingAdmissionPolicy 'borealis-deletion-protection' with "
        "binding 'borealis-deletion-protection' denied request: spec.deletionProtection is true; to delete this "
        "database with all its data, first run: kubectl patch dbcluster kept --namespace default --type=merge --patch "
        '\'{"spec":{"deletionProtection":false}}\''
    )
    with pytest.raises(RequestFailed):
        client.request("DELETE", f"{BASE}/dbclusters")
    assert client.find(path) is not None
    client.request("PATCH", path, {"spec": {"deletionProtection": False}}, kind=MERGE)
    client.request("DELETE", path)
    assert client.find(path) is None
