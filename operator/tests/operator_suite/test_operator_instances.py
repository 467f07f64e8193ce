"""DBInstances of users and sizes by class: whatever is wrong with one is told on that one, and stops nothing."""

from collections.abc import Mapping
from typing import Any

import pytest
from borealis_operator.api.catalogue import Catalogue
from borealis_operator.api.classes import Resources
from borealis_operator.api.errors import KubeDown
from borealis_operator.reconcile.orphans import AGAIN_S, tend_orphaned_instance, until_said
from borealis_operator.render.resources import ANNOTATION_RESOURCES, bears, describe_resources

from .conftest import KEY, Stage
from .test_operator_crds import admit
from .test_operator_faults import told


def add(stage: Stage, name: str, *, created: int = 0, cluster: str = KEY.name, **spec: Any) -> None:
    """Add a DBInstance as a user does."""
    metadata = {"name": name, "namespace": KEY.namespace, "creationTimestamp": f"2026-02-01T00:00:{created:02}Z"}
    stage.kube.put({"kind": "DBInstance", "metadata": metadata, "spec": {"clusterName": cluster, **spec}})


def status(stage: Stage, name: str) -> dict[str, Any]:
    return dict(stage.kube.objects["DBInstance", KEY.namespace, name].get("status", {}))


def conditions(stage: Stage, name: str) -> dict[str, Any]:
    return {c["type"]: c for c in status(stage, name)["conditions"]}


def pods_of(stage: Stage, instance: str) -> list[dict[str, Any]]:
    pods = [stage.pod(name) for name in stage.named("Pod")]
    return [p for p in pods if p["metadata"]["labels"].get("borealis.dev/instance") == instance]


def resources(stage: Stage, instance: str) -> Mapping[str, Any]:
    (pod,) = pods_of(stage, instance)
    given: Mapping[str, Any] = pod["spec"]["containers"][0]["resources"]
    return given


def change(stage: Stage, **spec: Any) -> None:
    stage.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"].update(spec)


async def test_an_instance_says_that_it_takes_connections(running: Stage) -> None:
    for name in running.named("DBInstance"):
        ready = conditions(running, name)["Ready"]
        assert (ready["status"], ready["reason"]) == ("True", "Available")
        assert status(running, name)["pod"] in ready["message"]


# --- at most 16 -----------------------------------------------------------------------------------------------------
async def test_those_beyond_the_limit_get_no_pod_and_are_told(running: Stage) -> None:
    for number in range(17):
        add(running, f"mine-{number}", created=number)
    await running.settle()
    assert sum(1 for n in running.named("Pod") if "storage" not in n) == 16
    late = [n for n in running.named("DBInstance") if conditions(running, n)["Ready"]["reason"] == "LimitExceeded"]
    assert late == ["mine-15", "mine-16"]
    assert status(running, "mine-16")["status"] == "waiting"
    assert "16 instances" in conditions(running, "mine-16")["Ready"]["message"]
    assert "delete another DBInstance" in conditions(running, "mine-16")["Ready"]["message"]
    assert running.status["status"] == "available"
    running.kube.remove("DBInstance", KEY.namespace, "mine-3")
    await running.settle()
    assert conditions(running, "mine-15")["Ready"]["reason"] == "Available"
    assert conditions(running, "mine-16")["Ready"]["reason"] == "LimitExceeded"


async def test_a_failover_goes_on_beside_instances_beyond_the_limit(running: Stage) -> None:
    for number in range(17):
        add(running, f"mine-{number}", created=number)
    await running.settle()
    old = running.writer_pod()["metadata"]
    running.world.die(old["uid"])
    await running.settle()
    assert running.status["writer"] not in ("", old["name"])
    assert running.status["status"] == "available"


# --- names ----------------------------------------------------------------------------------------------------------
async def test_a_users_instance_may_bear_a_name_of_the_generated_form(running: Stage) -> None:
    add(running, "orders-instance-4")
    await running.settle()
    change(running, readers=3)
    await running.settle()
    assert running.named("DBInstance") == [f"orders-instance-{n}" for n in (1, 2, 3, 4, 5)]
    notice = conditions(running, "orders-instance-4")["NameReserved"]
    assert notice["status"] == "True"
    assert "choose another name" in notice["message"]
    assert "NameReserved" not in conditions(running, "orders-instance-5")
    change(running, readers=0)
    await running.settle()
    assert "orders-instance-4" in running.named("DBInstance")
    assert status(running, "orders-instance-4")["status"] == "available"


async def test_the_number_of_another_clusters_instance_is_passed_over(stage: Stage) -> None:
    add(stage, "orders-instance-1", cluster="other")
    stage.declare({"readers": 0})
    await stage.settle()
    assert stage.named("DBInstance") == ["orders-instance-1", "orders-instance-2"]
    assert stage.status["status"] == "available"
    assert told(stage)["Reconciled"]["status"] == "True"


# --- classes --------------------------------------------------------------------------------------------------------
async def test_classes_become_resources_and_the_instances_own_comes_first(stage: Stage) -> None:
    stage.declare({"readers": 0, "instance": {"dbInstanceClass": "db.large"}})
    add(stage, "small", dbInstanceClass="db.small")
    await stage.settle()
    memory = {"memory": "8Gi"}
    assert resources(stage, "orders-instance-1") == {"requests": {"cpu": "2", **memory}, "limits": memory}
    assert resources(stage, "small") == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    assert [status(stage, n)["dbInstanceClass"] for n in stage.named("DBInstance")] == ["db.large", "db.small"]


async def test_the_charts_table_holds(stage: Stage) -> None:
    tiny = Resources(cpu="50m", memory="256Mi")
    stage.reconciler.catalogue = Catalogue(images={"17": "engine:17"}, classes={"tiny": tiny})
    stage.declare({"readers": 0, "instance": {"dbInstanceClass": "tiny"}})
    await stage.settle()
    assert resources(stage, "orders-instance-1")["requests"] == {"cpu": "50m", "memory": "256Mi"}


async def test_an_instance_of_an_unknown_class_waits(running: Stage) -> None:
    add(running, "huge", dbInstanceClass="db.huge")
    await running.settle()
    assert pods_of(running, "huge") == []
    ready = conditions(running, "huge")["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "UnknownClass")
    assert ready["message"].startswith("spec.dbInstanceClass: there is no class 'db.huge'; use one of db.small, ")
    assert told(running)["Reconciled"]["status"] == "True"
    running.kube.objects["DBInstance", KEY.namespace, "huge"]["spec"]["dbInstanceClass"] = "db.small"
    await running.settle()
    assert conditions(running, "huge")["Ready"]["reason"] == "Available"


async def test_a_class_that_becomes_unknown_changes_no_pod_and_stops_no_failover(running: Stage) -> None:
    change(running, instance={"dbInstanceClass": "db.small"})
    await running.settle(80)
    before = {n: p for n in running.named("DBInstance") for p in pods_of(running, n)}
    change(running, instance={"dbInstanceClass": "db.smal"})
    await running.settle()
    assert {n: p for n in running.named("DBInstance") for p in pods_of(running, n)} == before
    assert told(running)["Reconciled"]["reason"] == "ConfigInvalid"
    assert "spec.instance.dbInstanceClass: there is no class 'db.smal'" in told(running)["Reconciled"]["message"]
    old = running.writer_pod()["metadata"]
    running.kube.remove("Pod", KEY.namespace, old["name"])
    running.world.run()
    await running.settle()
    assert running.status["status"] == "available"
    assert running.status["readers"] == 2
    lost = old["labels"]["borealis.dev/instance"]
    assert resources(running, lost)["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert conditions(running, lost)["Ready"]["reason"] == "UnknownClass"
    assert conditions(running, lost)["Ready"]["status"] == "True"


async def test_a_changed_class_rolls_readers_first_one_at_a_time(running: Stage) -> None:
    before = {p["metadata"]["name"] for n in running.named("DBInstance") for p in pods_of(running, n)}
    first = running.status["writer"]
    deleted: list[str] = []
    running.kube.on_write = lambda verb, kind, name: deleted.append(name) if (verb, kind) == ("delete", "Pod") else None
    change(running, instance={"dbInstanceClass": "db.medium"})
    await running.settle(80)
    assert set(deleted) == before
    assert deleted[-1] == first
    assert running.status["status"] == "available"
    assert {resources(running, n)["requests"]["memory"] for n in running.named("DBInstance")} == {"4Gi"}


async def test_the_class_in_the_status_is_that_of_the_pod(running: Stage) -> None:
    change(running, instance={"dbInstanceClass": "db.medium"})
    await running.reconciler.once(KEY)
    for name in running.named("DBInstance"):
        assert status(running, name)["dbInstanceClass"] == ""
        assert "memory" not in resources(running, name)["requests"]
    await running.settle(80)
    assert {status(running, name)["dbInstanceClass"] for name in running.named("DBInstance")} == {"db.medium"}


async def test_a_lost_pod_of_a_first_class_that_is_unknown_is_made_as_before(running: Stage) -> None:
    for name in running.named("DBInstance"):  # as an operator left it that knew of no classes
        del running.kube.objects["DBInstance", KEY.namespace, name]["status"]["dbInstanceClass"]
    change(running, instance={"dbInstanceClass": "db.huge"})
    await running.reconciler.once(KEY)
    running.kube.remove("Pod", KEY.namespace, running.status["writer"])
    running.world.run()
    await running.settle()
    assert running.status["readers"] == 2
    assert {str(resources(running, n)) for n in running.named("DBInstance")} == {"{'requests': {'cpu': '100m'}}"}


async def test_an_instance_that_waits_for_its_user_holds_up_no_rollout(running: Stage) -> None:
    add(running, "huge", dbInstanceClass="db.huge")
    change(running, instance={"dbInstanceClass": "db.medium"})
    await running.settle(80)
    assert resources(running, "orders-instance-1")["requests"]["memory"] == "4Gi"


OLD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "instance"}]}}
LARGE = Resources(cpu="2", memory="8Gi")


@pytest.mark.parametrize(
    ("pod", "asked", "same"),
    [
        (OLD, Resources(), True),
        (OLD, LARGE, False),
        ({"spec": {"containers": [{"resources": {"requests": {"cpu": "2", "memory": "8Gi"}}}]}}, LARGE, True),
        ({"metadata": {"annotations": {ANNOTATION_RESOURCES: describe_resources(LARGE)}}}, LARGE, True),
        ({"metadata": {"annotations": {ANNOTATION_RESOURCES: describe_resources(LARGE)}}}, Resources(), False),
    ],
    ids=["old", "old-but-larger-now", "old-as-asked", "as-asked", "smaller-now"],
)
def test_what_a_pod_bears(pod: Mapping[str, Any], asked: Resources, same: bool) -> None:
    assert bears(pod, asked) is same


@pytest.mark.parametrize(("one", "other"), [("1", "1000m"), ("0.5", "500m"), ("2", "2.0")])
def test_equal_quantities_are_the_same_text(one: str, other: str) -> None:
    texts = {describe_resources(Resources(cpu=cpu, memory="1Gi")) for cpu in (one, other)}
    assert len(texts) == 1
    assert describe_resources(Resources(cpu=one, memory="1024Mi")) in texts
    assert describe_resources(Resources(cpu="3", memory="1Gi")) not in texts


# --- what is wrong with one -----------------------------------------------------------------------------------------
async def test_a_bad_instance_stops_no_pass(running: Stage) -> None:
    add(running, "odd", promotionTier="first")
    await running.settle()
    ready = conditions(running, "odd")["Ready"]
    assert ready["reason"] == "ConfigInvalid"
    assert "spec.promotionTier: 'first' is out of range; use a whole number from 0 to 15" in ready["message"]
    old = running.writer_pod()["metadata"]
    running.world.die(old["uid"])
    await running.settle()
    assert running.status["writer"] not in ("", old["name"])


async def test_an_instance_without_a_cluster_says_so_until_there_is_one(stage: Stage) -> None:
    add(stage, "early", promotionTier=0)
    await tend_orphaned_instance(stage.kube, stage.kube.objects["DBInstance", KEY.namespace, "early"], now=stage.now)
    ready = conditions(stage, "early")["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "ClusterMissing")
    assert "there is no DBCluster 'orders' in namespace shop; make it" in ready["message"]
    live = stage.kube.objects["DBInstance", KEY.namespace, "early"]
    assert admit({"apiVersion": "borealis.dev/v1alpha1", **live}) == []
    writes = len(stage.kube.writes)
    await tend_orphaned_instance(stage.kube, live, now=stage.now + 60)
    assert len(stage.kube.writes) == writes
    stage.declare({"readers": 0})
    await stage.settle()
    assert conditions(stage, "early")["Ready"]["reason"] == "Available"


@pytest.mark.parametrize("gone", [False, True])
async def test_what_the_api_does_not_take_is_said_again_unless_there_is_nobody_left(stage: Stage, gone: bool) -> None:
    add(stage, "early")
    live, pauses = stage.kube.objects["DBInstance", KEY.namespace, "early"], list[float]()

    def refuse(*_: str) -> None:
        raise KubeDown("the API server is away")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            stage.kube.on_write = lambda *_: None
            if gone:
                del stage.kube.objects["DBInstance", KEY.namespace, "early"]

    stage.kube.on_write = refuse
    await until_said("early", lambda: tend_orphaned_instance(stage.kube, live, now=stage.now), sleep=sleep)
    assert pauses == [AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S]
    assert gone or conditions(stage, "early")["Ready"]["reason"] == "ClusterMissing"


async def test_an_instance_whose_cluster_exists_is_left_to_its_passes(running: Stage) -> None:
    writes = len(running.kube.writes)
    for name in running.named("DBInstance"):
        live = running.kube.objects["DBInstance", KEY.namespace, name]
        await tend_orphaned_instance(running.kube, live, now=running.now)
    assert len(running.kube.writes) == writes
