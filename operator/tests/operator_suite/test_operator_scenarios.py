"""The operator in process: creation, failover, replacement, scaling, endpoints that never go backwards, deletion."""

from collections import Counter

import pytest
from borealis_operator.kube.testing import Crash
from borealis_operator.reconcile.removal import Remover

from .conftest import KEY, Stage


async def test_a_cluster_comes_up(running: Stage) -> None:
    assert running.status["status"] == "available"
    assert running.status["storage"] == "6/6"
    assert running.status["readers"] == 2
    assert running.status["epoch"] == 2
    assert running.status["engineVersion"] == "17"
    assert all(c["status"] == "True" for c in running.status["conditions"]), running.status["conditions"]
    assert running.named("DBInstance") == [f"orders-instance-{n}" for n in (1, 2, 3)]
    assert running.named("Secret") == [
        "orders-ca",
        "orders-master",
        "orders-server-ca",
        "orders-tls-instance",
        "orders-tls-operator",
        "orders-tls-server",
        "orders-tls-storage",
    ]


async def test_storage_lies_two_by_two_and_instances_apart(running: Stage) -> None:
    pods = [running.pod(name) for name in running.named("Pod")]
    zones = {
        part: Counter(
            p["metadata"]["annotations"]["borealis.dev/zone"]
            for p in pods
            if p["metadata"]["labels"]["borealis.dev/component"] == part
        )
        for part in ("storage", "instance")
    }
    assert zones["storage"] == {"a": 2, "b": 2, "c": 2}
    assert zones["instance"] == {"a": 1, "b": 1, "c": 1}


async def test_endpoints_lead_to_writer_and_readers(running: Stage) -> None:
    writer = running.writer_pod()
    assert running.addresses("orders") == [writer["status"]["podIP"]]
    readers = [
        running.pod(n)["status"]["podIP"]
        for n in running.named("Pod")
        if running.pod(n)["metadata"]["labels"].get("borealis.dev/role") == "reader"
    ]
    assert running.addresses("orders-ro") == sorted(readers)
    assert len(readers) == 2
    assert writer["metadata"]["labels"]["borealis.dev/role"] == "writer"


async def test_a_second_pass_writes_nothing(running: Stage) -> None:
    before = list(running.kube.writes)
    running.now += 5
    await running.reconciler.once(KEY)
    assert running.kube.writes == before


async def test_without_readers_the_reader_endpoint_leads_to_the_writer(stage: Stage) -> None:
    stage.declare({"readers": 0})
    await stage.settle()
    assert stage.addresses("orders-ro") == stage.addresses("orders") != []


async def test_a_dead_writer_is_succeeded(running: Stage) -> None:
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert running.status["writer"] != old["metadata"]["name"]
    assert running.status["epoch"] == 3
    assert running.status["status"] == "available"
    assert running.status["readers"] == 2
    assert running.addresses("orders") == [running.writer_pod()["status"]["podIP"]]
    assert running.events().count("FailoverStarted") == 1
    assert running.events().count("FailoverCompleted") == 1


async def test_a_silent_writer_is_succeeded_and_replaced(running: Stage) -> None:
    old = running.writer_pod()
    running.world.unplug(old["metadata"]["uid"], silent_for=2.0)
    await running.settle()
    assert running.addresses("orders") == [running.writer_pod()["status"]["podIP"]]
    assert old["metadata"]["name"] in running.named("Pod")
    running.world.unplug(old["metadata"]["uid"], silent_for=6.0)
    await running.settle()
    assert old["metadata"]["name"] not in running.named("Pod")
    assert running.status["readers"] == 2


async def test_the_successor_of_a_silent_pod_avoids_its_node(running: Stage) -> None:
    old = running.writer_pod()
    running.world.unplug(old["metadata"]["uid"], silent_for=6.0)
    before = set(running.named("Pod"))
    await running.reconciler.once(KEY)
    (fresh,) = set(running.named("Pod")) - before
    terms = running.pod(fresh)["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ][0]["matchExpressions"]
    avoided = next(t for t in terms if t["operator"] == "NotIn")
    assert avoided["values"] == [f"{old['spec']['nodeName']}.local"]


async def test_the_lowest_tier_succeeds_first(running: Stage) -> None:
    heir = {"kind": "DBInstance", "metadata": {"name": "heir", "namespace": KEY.namespace}}
    running.kube.put({**heir, "spec": {"clusterName": KEY.name, "promotionTier": 0}})
    await running.settle()
    assert len(running.named("DBInstance")) == 4
    running.world.die(running.writer_pod()["metadata"]["uid"])
    await running.settle()
    assert running.writer_pod()["metadata"]["labels"]["borealis.dev/instance"] == "heir"


async def test_with_no_reader_left_a_new_instance_becomes_the_writer(stage: Stage) -> None:
    stage.declare({"readers": 0})
    await stage.settle()
    old = stage.status["writer"]
    stage.kube.remove("Pod", KEY.namespace, old)
    stage.world.run()
    await stage.settle()
    assert stage.status["writer"] not in ("", old)
    assert stage.status["status"] == "available"


async def test_a_higher_epoch_is_the_writer(running: Stage) -> None:
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    claimed = running.world.statuses[running.writer_pod()["metadata"]["uid"]]
    running.world.statuses[old["metadata"]["uid"]] = type(claimed)(
        name=old["metadata"]["name"], role="writer", ready=True, epoch=2, generation=1, revision=1
    )
    await running.reconciler.once(KEY)
    assert running.addresses("orders") == [running.writer_pod()["status"]["podIP"]]
    assert running.status["epoch"] == 3


async def test_endpoints_never_go_backwards(running: Stage) -> None:
    """An operator that knows only the old writer leaves the slices of a newer epoch alone."""
    for service in ("orders", "orders-ro"):
        live = running.kube.objects["EndpointSlice", KEY.namespace, service]
        live["metadata"]["annotations"]["borealis.dev/epoch"] = "9"
        live["endpoints"] = [{"addresses": ["10.9.9.9"]}]
    await running.reconciler.once(KEY)
    assert running.addresses("orders-ro") == ["10.9.9.9"]
    assert running.addresses("orders") == ["10.9.9.9"]


@pytest.mark.parametrize("readers", [0, 1, 4])
async def test_scaling(running: Stage, readers: int) -> None:
    writer = running.status["writer"]
    running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]["readers"] = readers
    await running.settle()
    assert running.status["readers"] == readers
    assert running.status["writer"] == writer
    assert len([n for n in running.named("Pod") if "instance" in n]) == readers + 1


async def test_a_deleted_dbinstance_comes_back(running: Stage) -> None:
    reader = next(n for n in running.named("DBInstance") if not running.status["writer"].startswith(n))
    running.kube.remove("DBInstance", KEY.namespace, reader)
    await running.settle()
    assert running.status["readers"] == 2
    assert reader in running.named("DBInstance")


async def test_a_lost_storage_pod_returns_and_may_not_format(running: Stage) -> None:
    running.kube.remove("Pod", KEY.namespace, "orders-storage-3")
    await running.settle()
    env = running.pod("orders-storage-3")["spec"]["containers"][0]["env"]
    assert {"name": "BOREALIS_FORMAT", "value": "false"} in env
    assert running.status["storage"] == "6/6"
    address = running.pod("orders-storage-3")["status"]["podIP"]
    config = running.kube.objects["ConfigMap", KEY.namespace, "orders-volume"]["data"]["volume"]
    assert f"{address}:7400" in config
    assert '"generation":1' in config


async def test_no_instance_before_all_six_disks_are_formatted(stage: Stage) -> None:
    stage.declare({"readers": 2})
    await stage.reconciler.once(KEY)
    stage.world.run()
    silent = stage.pod("orders-storage-5")["metadata"]["uid"]
    stage.world.unplug(silent, silent_for=1.0)
    for _ in range(3):
        await stage.reconciler.once(KEY)
    assert stage.named("DBInstance") == []
    del stage.world.unplugged[silent]
    await stage.settle()
    assert stage.status["status"] == "available"


async def test_fewer_than_three_zones_is_said(stage: Stage) -> None:
    for zone in "bc":
        for number in (0, 1):
            stage.kube.remove("Node", "", f"node-{zone}{number}")
    stage.declare({"readers": 1})
    await stage.settle()
    told = {c["type"]: c for c in stage.status["conditions"]}
    assert told["ThreeZones"]["status"] == "False"
    assert stage.status["status"] == "available"


async def test_the_users_own_password_is_taken_over(stage: Stage) -> None:
    stage.declare({"readers": 0, "masterUserSecret": {"name": "mine"}})
    await stage.reconciler.once(KEY)
    told = {c["type"]: c for c in stage.status["conditions"]}
    assert "spec.masterUserSecret.name" in told["MasterUserSecretReady"]["message"]
    mine = {"name": "mine", "namespace": KEY.namespace}
    stage.kube.put({"kind": "Secret", "metadata": mine, "data": {"password": "czNjcmV0ISE="}})
    await stage.settle()
    master = stage.kube.objects["Secret", KEY.namespace, "orders-master"]["data"]
    assert master["password"] == "czNjcmV0ISE="
    assert set(master) == {"host", "port", "user", "username", "password", "dbname", "uri", "ca.crt"}


async def test_a_lost_volume_configuration_is_never_made_up(running: Stage) -> None:
    running.kube.remove("ConfigMap", KEY.namespace, "orders-volume")
    running.world.configs.clear()
    await running.reconciler.once(KEY)
    assert "orders-volume" not in running.named("ConfigMap")
    told = {c["type"]: c for c in running.status["conditions"]}
    assert told["Reconciled"]["reason"] == "StateBroken"


async def test_deletion_leaves_nothing(running: Stage) -> None:
    running.kube.put({"kind": "Secret", "metadata": {"name": "mine", "namespace": KEY.namespace}, "data": {}})
    remover = Remover(kube=running.kube, agents=running.world)
    for _ in range(5):
        if await remover.once(KEY):
            break
    assert not running.named("Pod") + running.named("PersistentVolumeClaim") + running.named("DBInstance")
    running.kube.remove("DBCluster", KEY.namespace, KEY.name)
    assert running.named("Secret") == ["mine"]
    left = [k for k in running.kube.objects if k[0] not in ("Node", "Event", "Secret")]
    assert left == []


@pytest.mark.parametrize("scenario", ["creation", "failover"])
async def test_a_crash_after_each_action_converges(stage: Stage, scenario: str) -> None:
    """Crash after 0, 1, 2, ... writes of each pass, restart with no memory, and end where a clean run ends."""
    stage.declare({"readers": 2, "databaseName": "app"})
    if scenario == "failover":
        await stage.settle()
        stage.world.die(stage.writer_pod()["metadata"]["uid"])
    crashes = 0
    for budget in range(400):
        stage.kube.crash_after = budget % 7
        try:
            await stage.reconciler.once(KEY)
        except Crash:
            crashes += 1
            stage.restart_operator()
        stage.world.run()
        stage.now += 2.0
    stage.kube.crash_after = None
    await stage.settle()
    assert crashes > 3
    assert stage.status["status"] == "available"
    assert stage.status["readers"] == 2
    assert len(stage.world.writers()) == 1
    assert len(stage.named("Pod")) == 9
