"""The CRDs say what the parser reads, refuse what it refuses, keep what the operator writes, and admit the examples."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from borealis_engine.contract import extensions
from borealis_engine.contract.settings import OWN
from borealis_local.machinery import cel, schema
from borealis_operator.api.catalogue import MAJORS, Catalogue
from borealis_operator.api.classes import DEFAULT_CLASSES, Resources, parse_classes
from borealis_operator.api.cluster import parse_cluster
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.instance import parse_instance
from borealis_operator.kube.testing import FakeKube
from borealis_operator.reconcile.snapshots import tend_orphan

from .conftest import KEY, Stage

ROOT = Path(__file__).parents[3]
CRDS = {c["spec"]["names"]["kind"]: c for c in (yaml.safe_load(p.read_text()) for p in (ROOT / "crds").glob("*.yaml"))}
EXAMPLES = [d for p in sorted((ROOT / "examples").glob("*.yaml")) for d in yaml.safe_load_all(p.read_text())]
CATALOGUE = Catalogue(images={major: f"engine:{major}" for major in MAJORS})
FULL: dict[str, Any] = {
    "engine": "postgresql",
    "engineVersion": "17",
    "readers": 3,
    "storage": {"className": "fast", "size": "20Gi", "replacementDelay": "90s"},
    "databaseName": "app",
    "masterUsername": "admin_1",
    "masterUserSecret": {"name": "mine"},
    "instance": {"resources": {"cpu": "2", "memory": "4Gi"}},
    "readerAutoscaling": {"minReaders": 2, "maxReaders": 5, "targetCPUUtilization": 70},
    "parameters": {},
    "extensions": [{"name": "postgres_fdw"}, {"name": "uuid-ossp", "database": "Old-Shop"}],
    "deletionProtection": True,
    "allowedClients": [
        {"podSelector": {"matchLabels": {"app": "shop"}}, "namespaceSelector": {}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
    ],
}
OF_A_CLASS = FULL | {"instance": {"dbInstanceClass": "db.large"}}
MEMBER = {"clusterName": "orders", "promotionTier": 3, "dbInstanceClass": "db.small"}


def crd_schema(kind: str) -> dict[str, Any]:
    (version,) = CRDS[kind]["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"])


def manifest(spec: Mapping[str, Any], *, kind: str = "DBCluster", name: str = "orders") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": "u1"}
    return {"apiVersion": "borealis.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec)}


def admit(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """Default, prune and validate as an API server does; give what is wrong."""
    shape = crd_schema(new["kind"])
    filled = schema.default(new, shape)
    _, unknown = schema.prune(filled, shape, root=True)
    causes = schema.validate(filled, shape, root=True) or list(
        cel.violations(filled, shape, schema.default(old, shape) if old else cel.ABSENT)
    )
    return unknown + [str(cause) for cause in causes]


def leaves(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Paths of all fields of a schema that hold no further fields."""
    for name, child in node.get("properties", {}).items():
        below = list(leaves(child, f"{path}.{name}"))
        yield from below or [f"{path}.{name}"]


def nodes(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


class Recorder(Mapping[str, Any]):
    """A mapping that remembers which of its leaves were read."""

    def __init__(self, raw: Mapping[str, Any], read: set[str], path: str = "") -> None:
        self._raw, self._read, self._path = raw, read, path

    def __getitem__(self, key: str) -> Any:
        self._read.add(f"{self._path}.{key}")
        value = self._raw[key]
        return Recorder(value, self._read, f"{self._path}.{key}") if isinstance(value, dict) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


@pytest.mark.parametrize(
    ("kind", "specs"),
    [("DBCluster", [FULL, OF_A_CLASS]), ("DBInstance", [MEMBER])],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_crd_has_the_fields_that_the_parser_reads(kind: str, specs: list[dict[str, Any]]) -> None:
    read: set[str] = set()
    for spec in specs:
        watched = {**manifest(spec, kind=kind), "spec": Recorder(spec, read)}
        if kind == "DBCluster":
            parse_cluster(watched, CATALOGUE)
        else:
            parse_instance(watched)
    promised = set(leaves(crd_schema(kind)["properties"]["spec"]))
    assert promised == {path for path in read if not any(other.startswith(f"{path}.") for other in read)}


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_is_described(kind: str) -> None:
    silent = [p for p, node in nodes(crd_schema(kind), kind) if not node.get("description") and p != f"{kind}.metadata"]
    assert silent == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e['kind']}-{e['metadata']['name']}")
def test_examples_are_admitted(example: dict[str, Any]) -> None:
    if example["kind"] in CRDS:
        assert admit(example) == []


def test_defaults_of_schema_and_parser_agree() -> None:
    bare = manifest({})
    filled = schema.default(bare, crd_schema("DBCluster"))
    assert parse_cluster(filled, CATALOGUE).spec == parse_cluster(bare, CATALOGUE).spec


REFUSED = {
    "engine": {"engine": "mysql"},
    "version": {"engineVersion": "14"},
    "version-number": {"engineVersion": 17},
    "too-many-readers": {"readers": 16},
    "no-readers": {"readers": -1},
    "size": {"storage": {"size": "lots"}},
    "no-size": {"storage": {"size": "0Gi"}},
    "delay": {"storage": {"replacementDelay": "5 minutes"}},
    "no-delay": {"storage": {"replacementDelay": "0s"}},
    "secret-of-another-namespace": {"masterUserSecret": {"name": "../../other/secrets/theirs"}},
    "database": {"databaseName": "No Good"},
    "reserved-database": {"databaseName": "pg_things"},
    "reserved-user": {"masterUsername": "postgres"},
    "agents-user": {"masterUsername": "borealis_admin"},
    "agents-role": {"masterUsername": "borealis_replication"},
    "cpu": {"instance": {"resources": {"cpu": "many"}}},
    "no-bounds": {"readerAutoscaling": {"minReaders": 2}},
    "bounds-crossed": {"readerAutoscaling": {"minReaders": 5, "maxReaders": 4}},
    "no-target": {"readerAutoscaling": {"maxReaders": 4, "targetCPUUtilization": 0}},
    "window": {"readerAutoscaling": {"maxReaders": 4, "scaleInStabilizationSeconds": 3601}},
    "parameter-name": {"parameters": {"Work-Mem": "1MB"}},
    "parameter-value": {"parameters": {"log_connections": True}},
    "protection": {"deletionProtection": "yes"},
    "class": {"instance": {"dbInstanceClass": "Large!"}},
    "extensions-that-are-no-list": {"extensions": "postgres_fdw"},
    "extension-by-its-name-alone": {"extensions": ["postgres_fdw"]},
    "extension-without-a-name": {"extensions": [{"database": "app"}]},
    "extension-of-a-template": {"extensions": [{"name": "hstore", "database": "template1"}]},
    "extension-of-no-database": {"extensions": [{"name": "hstore", "database": "a=b"}]},
    **{f"extension-{name}": {"extensions": [{"name": name}]} for name in ("file_fdw", "plpython3u", "auto_explain")},
    "no-clients": {"allowedClients": []},
    "clients-that-are-no-list": {"allowedClients": "10.0.0.0/8"},
    "empty-client": {"allowedClients": [{}]},
    "client-of-two-kinds": {"allowedClients": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]},
    "client-without-bits": {"allowedClients": [{"ipBlock": {"cidr": "10.0.0.1"}}]},
    "client-label": {"allowedClients": [{"podSelector": {"matchLabels": {"app": "my shop"}}}]},
    "client-values": {"allowedClients": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]},
    "client-operator": {"allowedClients": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}]},
    "class-and-resources": {"instance": {"dbInstanceClass": "db.large", "resources": {"cpu": "1"}}},
}


@pytest.mark.parametrize("spec", REFUSED.values(), ids=REFUSED)
def test_schema_and_parser_refuse_alike(spec: dict[str, Any]) -> None:
    assert admit(manifest(spec))
    with pytest.raises(ConfigInvalid, match=r"^spec\.[a-zA-Z._-]+: .+; .+"):
        parse_cluster(manifest(spec), CATALOGUE)


def test_schema_and_contract_know_the_same_extensions() -> None:
    properties = crd_schema("DBCluster")["properties"]["spec"]["properties"]
    assert set(properties["extensions"]["items"]["properties"]["name"]["enum"]) == extensions.ALLOWED
    assert not extensions.ALLOWED & set(extensions.REFUSED)


CHANGES = {
    "engine": ({}, {"engine": "aurora-postgresql"}, "spec.engine"),
    "class": ({}, {"storage": {"className": "fast"}}, "spec.storage.className"),
    "size": ({}, {"storage": {"size": "20Gi"}}, "spec.storage.size"),
    "database": ({}, {"databaseName": "late"}, "spec.databaseName"),
    "no-database": ({"databaseName": "app"}, {}, "spec.databaseName"),
    "user": ({}, {"masterUsername": "boss"}, "spec.masterUsername"),
    "version": ({"engineVersion": "15"}, {"engineVersion": "17"}, "spec.engineVersion"),
}


@pytest.mark.parametrize(("old", "new", "field"), CHANGES.values(), ids=CHANGES)
def test_what_cannot_change_says_so(old: dict[str, Any], new: dict[str, Any], field: str) -> None:
    causes = admit(manifest(new), manifest(old))
    assert any(f"{field}: cannot change" in cause for cause in causes), causes


@pytest.mark.parametrize(
    "change",
    [
        {"readers": 5},
        {"masterUserSecret": {"name": "other"}},
        {"engineVersion": "17"},
        {"storage": {"replacementDelay": "10s"}},
    ],
)
def test_what_can_change_may(change: dict[str, Any]) -> None:
    assert admit(manifest(change), manifest({})) == []


def test_nothing_reserved_is_allowed() -> None:
    spec = {"instance": {"resources": {"cpu": "0", "memory": "0"}}}
    assert admit(manifest(spec)) == []
    assert parse_cluster(manifest(spec), CATALOGUE).spec.resources.cpu == "0"


def test_long_names_are_refused() -> None:
    assert admit(manifest({}, name="x" * 46))
    with pytest.raises(ConfigInvalid, match=r"metadata\.name"):
        parse_cluster(manifest({}, name="x" * 46), CATALOGUE)


@pytest.mark.parametrize("name", ["1st", "my.orders", "orders-"])
def test_names_that_no_service_can_bear_are_refused(name: str) -> None:
    assert any("metadata.name" in cause for cause in admit(manifest({}, name=name)))
    with pytest.raises(ConfigInvalid, match=r"metadata\.name: .+; .+"):
        parse_cluster(manifest({}, name=name), CATALOGUE)


def test_a_version_that_is_not_the_running_one_is_refused() -> None:
    live = manifest({}) | {"status": {"engineVersion": "15"}}
    asked = manifest({"engineVersion": "17"}) | {"status": {"engineVersion": "15"}}
    assert any("spec.engineVersion: cannot change" in cause for cause in admit(asked, live))
    assert admit(manifest({"engineVersion": "15"}) | {"status": {"engineVersion": "15"}}, live) == []


def test_a_version_is_kept_when_the_catalogue_grows() -> None:
    live = manifest({}) | {"status": {"engineVersion": "15"}}
    assert parse_cluster(live, CATALOGUE).spec.engine_version == "15"
    with pytest.raises(ConfigInvalid, match=r"spec\.engineVersion"):
        parse_cluster(manifest({"engineVersion": "17"}) | {"status": {"engineVersion": "15"}}, CATALOGUE)


async def test_what_the_operator_writes_survives_the_schema(running: Stage) -> None:
    written = [o for (kind, _, _), o in running.kube.objects.items() if kind in CRDS]
    assert {o["kind"] for o in written} == {"DBCluster", "DBInstance"}
    for live in written:
        assert live["status"]
        assert admit({"apiVersion": "borealis.dev/v1alpha1", **live}) == []


async def test_the_schema_admits_what_a_snapshot_says() -> None:
    kube = FakeKube()
    live = kube.put(manifest({"clusterName": KEY.name}, kind="Snapshot", name="before"))
    await tend_orphan(kube, live, now=1_800_000_000.0)
    told = await kube.get("Snapshot", "shop", "before")
    assert told["status"]["restorable"] is False
    assert admit(told) == []
    await tend_orphan(kube, told, now=1_800_000_099.0)
    assert len(kube.writes) == 1


def test_readers_are_left_out_beside_autoscaling_or_one_at_least() -> None:
    scaling = {"readerAutoscaling": {"maxReaders": 4}}
    assert admit(manifest(scaling)) == admit(manifest(scaling | {"readers": 3})) == []
    (cause,) = admit(manifest(scaling | {"readers": 0}))
    assert "spec.readers: must be 1 or more beside spec.readerAutoscaling" in cause


def test_the_schema_refuses_the_parameters_that_are_borealis_own() -> None:
    (rule,) = (r for r in _parameter_rules() if "messageExpression" in r)
    for text in (rule["rule"], rule["messageExpression"]):
        assert re.findall(r"'([a-z_]+)'", text) == sorted(OWN)


@pytest.mark.parametrize("name", ["fsync", "max_connections", "ssl"])
def test_a_refused_parameter_is_named(name: str) -> None:
    causes = admit(manifest({"parameters": {name: 1, "work_mem": "32MB"}}))
    assert [f"spec.parameters: {name} is set by Borealis itself; leave it out" in cause for cause in causes] == [True]


def test_parameters_are_texts_and_whole_numbers() -> None:
    spec = {"parameters": {"work_mem": "32MB", "random_page_cost": "1.1", "pg_stat_statements.max": 500}}
    assert admit(manifest(spec)) == []
    parsed = parse_cluster(manifest(spec), CATALOGUE).spec.parameters
    assert parsed == {"work_mem": "32MB", "random_page_cost": "1.1", "pg_stat_statements.max": "500"}


def _parameter_rules() -> list[dict[str, Any]]:
    spec = crd_schema("DBCluster")["properties"]["spec"]["properties"]
    return list(spec["parameters"]["x-kubernetes-validations"])


CLASSES = {
    "not-json": "db.small",
    "a-list": "[1]",
    "a-number": '{"db.small": 1}',
    "name-that-no-schema-admits": '{"DB Small": {"cpu": "1"}}',
    "misspelt": '{"db.small": {"cpus": "1"}}',
    "no-quantity": '{"db.small": {"cpu": "some"}}',
}


@pytest.mark.parametrize("text", CLASSES.values(), ids=CLASSES)
def test_a_bad_table_of_classes_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"^BOREALIS_INSTANCE_CLASSES.*: .+; .+"):
        parse_classes(text)


def test_the_table_of_classes_may_be_replaced() -> None:
    assert parse_classes("") == DEFAULT_CLASSES
    assert parse_classes('{"tiny": {"cpu": "50m", "memory": "256Mi"}}') == {
        "tiny": Resources(cpu="50m", memory="256Mi")
    }
