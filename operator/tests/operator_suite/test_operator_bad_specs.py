"""A spec that went wrong: what was never made waits; what runs goes on, fails over, and says what is wrong."""

from typing import Any

import pytest
from borealis_operator.api.catalogue import Catalogue
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.forgiving import forgive, parse_running, summarize, without

from .conftest import KEY, Stage
from .test_operator_faults import told

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "too-many-readers": ({"readers": 16}, "spec.readers"),
    "no-number": ({"readers": "two"}, "spec.readers"),
    "engine": ({"engine": "mysql"}, "spec.engine"),
    "another-version": ({"engineVersion": "15"}, "spec.engineVersion"),
    "unquoted-version": ({"engineVersion": 17}, "spec.engineVersion"),
    "size": ({"storage": {"size": "lots"}}, "spec.storage.size"),
    "database": ({"databaseName": "No Good"}, "spec.databaseName"),
    "user": ({"masterUsername": "postgres"}, "spec.masterUsername"),
    "agents-user": ({"masterUsername": "borealis_admin"}, "spec.masterUsername"),
    "secret": ({"masterUserSecret": {"name": "../theirs"}}, "spec.masterUserSecret.name"),
    "cpu": ({"instance": {"resources": {"cpu": "many"}}}, "spec.instance.resources.cpu"),
    "autoscaling": ({"readerAutoscaling": {"minReaders": 2}}, "spec.readerAutoscaling.maxReaders"),
    "parameter": ({"parameters": {"work_mem": True}}, "spec.parameters.work_mem"),
    "parameter-name": ({"parameters": {"Work Mem": "1MB"}}, "spec.parameters.Work Mem"),
    "clients": ({"allowedClients": [{}]}, "spec.allowedClients"),
    "extension": ({"extensions": [{"name": "adminpack"}]}, "spec.extensions"),
    "class": ({"instance": {"dbInstanceClass": "DB Large"}}, "spec.instance.dbInstanceClass"),
}


def spoil(stage: Stage, change: dict[str, Any]) -> None:
    live = stage.kube.objects["DBCluster", KEY.namespace, KEY.name]
    live["spec"] = live["spec"] | change


@pytest.mark.parametrize(("change", "field"), BAD.values(), ids=BAD)
async def test_a_mistake_changes_nothing_and_stops_no_failover(
    running: Stage, change: dict[str, Any], field: str
) -> None:
    master = running.kube.objects["Secret", KEY.namespace, "orders-master"]["data"]
    names, claim = (
        running.named("DBInstance") + running.named("Pod"),
        running.kube.objects["PersistentVolumeClaim", "shop", "orders-storage-0"],
    )
    spoil(running, change)
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert told(running)["Reconciled"]["reason"] == "ConfigInvalid"
    assert told(running)["Reconciled"]["message"].startswith(f"{field}: ")
    assert told(running)["Ready"]["status"] == "True"
    assert running.status["status"] == "available"
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    assert running.addresses("orders") == [running.writer_pod()["status"]["podIP"]]
    assert running.named("DBInstance") + running.named("Pod") == names
    assert running.kube.objects["Secret", KEY.namespace, "orders-master"]["data"] == master
    assert running.kube.objects["PersistentVolumeClaim", KEY.namespace, "orders-storage-0"] == claim


SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "processors": ({"resources": {"cpu": "2", "memory": "4Gi"}}, {"resources": {"cpu": "many", "memory": "4Gi"}}),
    "memory": ({"resources": {"memory": "4Gi"}}, {"resources": {"memory": "much"}}),
    "class": ({"dbInstanceClass": "db.large"}, {"dbInstanceClass": "DB Large"}),
    "class and resources": (
        {"dbInstanceClass": "db.large"},
        {"dbInstanceClass": "db.large", "resources": {"cpu": "1"}},
    ),
}


@pytest.mark.parametrize(("before", "after"), SIZES.values(), ids=SIZES)
async def test_a_wrong_size_moves_no_pod(stage: Stage, before: dict[str, Any], after: dict[str, Any]) -> None:
    stage.declare({"readers": 1, "instance": before})
    metadata = {"name": "large", "namespace": KEY.namespace}
    spec = {"clusterName": KEY.name, "dbInstanceClass": "db.4xlarge"}
    stage.kube.put({"kind": "DBInstance", "metadata": metadata, "spec": spec})
    await stage.settle()
    pods = stage.named("Pod")
    spoil(stage, {"instance": after})
    await stage.settle()
    assert told(stage)["Reconciled"]["reason"] == "ConfigInvalid"
    assert stage.named("Pod") == pods


async def test_the_master_user_of_a_wrong_spec_stays_who_it_is(stage: Stage) -> None:
    stage.declare({"readers": 0, "masterUsername": "admin_1", "databaseName": "app"})
    await stage.settle()
    master = stage.kube.objects["Secret", KEY.namespace, "orders-master"]["data"]
    spoil(stage, {"masterUsername": "No Good", "databaseName": "pg_things"})
    await stage.settle()
    assert told(stage)["Reconciled"]["reason"] == "ConfigInvalid"
    assert stage.kube.objects["Secret", KEY.namespace, "orders-master"]["data"] == master


async def test_a_corrected_spec_holds_again(running: Stage) -> None:
    spoil(running, {"readers": 99})
    await running.settle()
    assert told(running)["Reconciled"]["status"] == "False"
    spoil(running, {"readers": 1})
    await running.settle()
    assert told(running)["Reconciled"]["status"] == "True"
    assert running.status["readers"] == 1


async def test_the_readers_of_a_wrong_spec_stay_as_many_as_they_are(stage: Stage) -> None:
    stage.declare({"readers": 0})
    await stage.settle()
    spoil(stage, {"readers": -1})
    await stage.settle()
    assert stage.named("DBInstance") == ["orders-instance-1"]


async def test_all_wrong_fields_are_named(running: Stage) -> None:
    spoil(running, {"readers": 16, "engine": "mysql", "databaseName": "No Good"})
    await running.settle()
    message = told(running)["Reconciled"]["message"]
    assert all(field in message for field in ("spec.readers", "spec.engine", "spec.databaseName"))


NEVER_MADE = {case: bad for case, bad in BAD.items() if case != "another-version"}  # which is right for a new cluster


@pytest.mark.parametrize(("change", "field"), NEVER_MADE.values(), ids=NEVER_MADE)
async def test_what_was_never_made_waits(stage: Stage, change: dict[str, Any], field: str) -> None:
    stage.declare(change)
    await stage.reconciler.once(KEY)
    assert stage.named("Pod") + stage.named("PersistentVolumeClaim") == []
    assert told(stage)["Ready"]["reason"] == "ConfigInvalid"
    assert told(stage)["Ready"]["message"].startswith(f"{field}: ")


async def test_without_an_engine_image_no_pod_is_made_and_failover_goes_on(running: Stage) -> None:
    running.reconciler.catalogue = Catalogue(images={"15": "engine:15"})
    old = running.writer_pod()["metadata"]
    running.kube.remove("Pod", KEY.namespace, old["name"])
    running.kube.remove("Pod", KEY.namespace, "orders-storage-1")
    running.world.run()
    silent = next(n for n in running.named("Pod") if "instance" in n)
    running.world.unplug(running.pod(silent)["metadata"]["uid"], silent_for=60.0)
    before = running.named("Pod")
    await running.settle()
    assert running.named("Pod") == before
    assert running.status["status"] == "available"
    assert running.status["writer"] not in ("", old["name"], silent)
    message = told(running)["Reconciled"]["message"]
    assert "no engine image for 17" in message
    assert "engine.images" in message
    running.reconciler.catalogue = Catalogue(images={"17": "engine:17"})
    await running.settle()
    assert len(running.named("Pod")) == 9
    assert told(running)["Reconciled"]["status"] == "True"


async def test_a_wrong_dbinstance_stops_nothing(running: Stage) -> None:
    metadata = {"name": "mine", "namespace": KEY.namespace}
    running.kube.put(
        {"kind": "DBInstance", "metadata": metadata, "spec": {"clusterName": KEY.name, "promotionTier": 77}}
    )
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert running.status["status"] == "available"
    assert running.status["readers"] == 3
    assert told(running)["Reconciled"]["message"].startswith("spec.promotionTier of DBInstance mine: 77")


PATHS: dict[str, tuple[dict[str, Any], str, dict[str, Any] | None]] = {
    "field": ({"a": 1, "b": 2}, "a", {"b": 2}),
    "deep": ({"a": {"b": 1, "c": 2}}, "a.b", {"a": {"c": 2}}),
    "dotted key": ({"a": {"x.y": 1, "z": 2}}, "a.x.y", {"a": {"z": 2}}),
    "absent, so what should hold it": ({"a": {"c": 2}}, "a.b", {}),
    "in no mapping": ({"a": 5, "b": 1}, "a.b", {"b": 1}),
    "absent": ({"a": 1}, "b", None),
    "nothing of it": ({"a": 1}, "b.c", None),
}


@pytest.mark.parametrize(("raw", "path", "left"), PATHS.values(), ids=PATHS)
def test_a_field_less(raw: dict[str, Any], path: str, left: dict[str, Any] | None) -> None:
    before = repr(raw)
    assert without(raw, path) == left
    assert repr(raw) == before


def test_what_is_not_of_the_spec_is_not_forgiven() -> None:
    def refuse(raw: object) -> None:
        raise ConfigInvalid("metadata.name", "is wrong", "use another")

    with pytest.raises(ConfigInvalid):
        forgive(refuse, {"metadata": {"name": "x"}, "spec": {}})


def test_a_wrong_parameter_leaves_the_others() -> None:
    raw = {
        "metadata": {"name": "c", "namespace": "n", "uid": "u"},
        "spec": {"parameters": {"work_mem": "1MB", "auto_explain.log_min_duration": 1.5}},
        "status": {"engineVersion": "17", "epoch": 2},
    }
    cluster, faults = parse_running(raw, Catalogue(images={"17": "engine:17"}))
    assert cluster.spec.parameters == {"work_mem": "1MB"}
    assert [f.field for f in faults] == ["spec.parameters.auto_explain.log_min_duration"]
    assert summarize(()) is None
