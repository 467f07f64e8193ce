"""What goes wrong around the operator must not keep it from what matters: a writer, endpoints, and the truth told."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from borealis_engine.contract.status import StorageState
from borealis_operator.api.errors import KubeError
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.observe.testing import FakeWorld
from borealis_operator.plan.facts import Agent, Manifest
from borealis_operator.reconcile import reconciler

from .conftest import KEY, Stage


def told(stage: Stage) -> dict[str, Any]:
    return {c["type"]: c for c in stage.status["conditions"]}


async def test_events_that_cannot_be_posted_do_not_keep_a_writer_away(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = FakeKube.create

    async def full(self: FakeKube, manifest: Manifest) -> Object:
        if manifest["kind"] == "Event":
            raise KubeError("403 exceeded quota: events")
        return await create(self, manifest)

    monkeypatch.setattr(FakeKube, "create", full)
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    assert running.status["status"] == "available"


async def test_the_successor_is_asked_before_anything_is_written(running: Stage) -> None:
    running.world.die(running.writer_pod()["metadata"]["uid"])
    asked: list[int] = []
    running.kube.on_write = lambda verb, kind, name: asked.append(len(running.world.asked))
    before = len(running.world.asked)
    await running.reconciler.once(KEY)
    assert asked
    assert min(asked) == before + 1


LEFT = {"ConfigMap": "orders-volume", "Secret": "orders-ca", "Service": "orders", "EndpointSlice": "orders-ro"}


@pytest.mark.parametrize(("kind", "name"), LEFT.items(), ids=LEFT)
async def test_nothing_of_an_earlier_cluster_of_that_name_is_used(stage: Stage, kind: str, name: str) -> None:
    labels = {"app.kubernetes.io/managed-by": "borealis", "borealis.dev/cluster": KEY.name}
    owner = {"kind": "DBCluster", "name": KEY.name, "uid": "the-earlier-one"}
    metadata = {"name": name, "namespace": KEY.namespace, "labels": labels, "ownerReferences": [owner]}
    stage.kube.put({"kind": kind, "metadata": metadata, "data": {}})
    stage.declare({"readers": 0})
    await stage.reconciler.once(KEY)
    assert told(stage)["Reconciled"]["reason"] == "NameTaken"
    assert stage.named("Pod") + stage.named("PersistentVolumeClaim") == []
    stage.kube.remove(kind, KEY.namespace, name)
    await stage.settle()
    assert stage.status["status"] == "available"


@pytest.mark.parametrize(
    ("kind", "name"), [("Service", "orders"), ("Secret", "orders-master"), ("Pod", "orders-storage-1")]
)
async def test_what_belongs_to_others_is_not_taken_over(stage: Stage, kind: str, name: str) -> None:
    theirs = stage.kube.put({"kind": kind, "metadata": {"name": name, "namespace": KEY.namespace}, "spec": {"a": 1}})
    stage.declare({"readers": 0})
    delay = 0.0
    for _ in range(3):
        delay = await stage.reconciler.once(KEY)
    assert stage.kube.objects[kind, KEY.namespace, name] == theirs
    assert delay >= 1.0
    assert told(stage)["Reconciled"]["reason"] == "NameTaken"
    assert f"{kind} '{name}' exists already" in told(stage)["Reconciled"]["message"]


def lose_password(stage: Stage) -> None:
    stage.kube.remove("Secret", KEY.namespace, "mine")


def spoil_password(stage: Stage) -> None:
    stage.kube.objects["Secret", KEY.namespace, "mine"]["data"] = {"password": "/w=="}


@pytest.mark.parametrize("harm", [lose_password, spoil_password], ids=lambda harm: str(harm.__name__))
async def test_a_lost_password_does_not_keep_a_writer_away(stage: Stage, harm: Callable[[Stage], None]) -> None:
    mine = {"name": "mine", "namespace": KEY.namespace}
    stage.kube.put({"kind": "Secret", "metadata": mine, "data": {"password": "czNjcmV0ISE="}})
    stage.declare({"readers": 2, "masterUserSecret": {"name": "mine"}})
    await stage.settle()
    harm(stage)
    old = stage.writer_pod()
    stage.world.die(old["metadata"]["uid"])
    await stage.settle()
    assert stage.status["writer"] not in ("", old["metadata"]["name"])
    assert stage.addresses("orders") == [stage.writer_pod()["status"]["podIP"]]
    assert told(stage)["Ready"]["status"] == "True"
    assert told(stage)["MasterUserSecretReady"]["status"] == "False"
    assert told(stage)["Reconciled"]["status"] == "True"
    master = stage.kube.objects["Secret", KEY.namespace, "orders-master"]["data"]
    assert master["password"] == "czNjcmV0ISE="


async def test_a_lost_membership_is_told_once_and_endpoints_still_follow(running: Stage) -> None:
    running.kube.remove("ConfigMap", KEY.namespace, "orders-volume")
    running.world.configs.clear()  # and the storage nodes do not tell it
    gone = next(n for n in running.named("Pod") if "instance" in n and n != running.status["writer"])
    address = running.pod(gone)["status"]["podIP"]
    del running.world.statuses[running.pod(gone)["metadata"]["uid"]]
    await running.settle()
    assert told(running)["Reconciled"]["reason"] == "StateBroken"
    assert address not in running.addresses("orders-ro")


async def test_a_fault_of_the_operators_own_is_told_and_retried(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(facts: object) -> None:
        raise KeyError("spec")

    with monkeypatch.context() as patch:
        patch.setattr(reconciler, "plan_course", fault)
        assert await running.reconciler.once(KEY) <= 5.0
    assert told(running)["Reconciled"]["status"] == "False"
    await running.settle()
    assert told(running)["Reconciled"]["status"] == "True"


async def test_nobody_is_promoted_while_one_may_be_the_writer_unheard(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is neither up nor given up: the operator has just started, and the writer is slow to answer."""
    uid, latest = running.writer_pod()["metadata"]["uid"], FakeWorld.latest
    slow = Agent(role_for=1.5)
    monkeypatch.setattr(FakeWorld, "latest", lambda self, pod: slow if pod == uid else latest(self, pod))
    asked = list(running.world.asked)
    await running.reconciler.once(KEY)
    assert running.world.asked == asked
    assert "FailoverStarted" not in running.events()


async def test_a_thawed_writer_of_an_older_epoch_does_not_hide_the_loss_of_the_newer(running: Stage) -> None:
    thawed = running.writer_pod()
    claim = running.world.statuses[thawed["metadata"]["uid"]]
    running.world.die(thawed["metadata"]["uid"])
    await running.settle()
    newer = running.writer_pod()
    running.world.unplug(newer["metadata"]["uid"], silent_for=1.0)
    running.world.statuses[thawed["metadata"]["uid"]] = claim
    asked = len(running.world.asked)
    await running.reconciler.once(KEY)
    assert len(running.world.asked) == asked + 1
    assert running.status["writer"] != thawed["metadata"]["name"]
    assert running.addresses("orders") == [newer["status"]["podIP"]]


async def test_an_operator_that_hears_nobody_deletes_nobody(running: Stage) -> None:
    for name in running.named("Pod"):
        running.world.unplug(running.pod(name)["metadata"]["uid"], silent_for=60.0)
    before = running.named("Pod")
    for _ in range(3):
        await running.reconciler.once(KEY)
    assert running.named("Pod") == before


async def test_a_member_without_the_log_is_not_counted_as_current(running: Stage) -> None:
    uid = running.pod("orders-storage-4")["metadata"]["uid"]
    running.world.statuses[uid] = replace(running.world.statuses[uid], state=StorageState.EMPTY)
    await running.reconciler.once(KEY)
    assert running.status["storage"] == "5/6"
    assert "orders-storage-4 is empty" in told(running)["StorageHealthy"]["message"]


async def test_a_missing_storage_node_is_named(running: Stage) -> None:
    running.kube.remove("Pod", KEY.namespace, "orders-storage-2")
    await running.reconciler.once(KEY)
    assert "orders-storage-2 is missing" in told(running)["StorageHealthy"]["message"]
    await running.settle()
    assert [e for e in running.events() if e.startswith("Storage")] == ["StorageDegraded", "StorageWhole"]


async def test_scaling_in_removes_and_does_not_replace(running: Stage) -> None:
    running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]["readers"] = 1
    await running.settle()
    assert "InstanceRemoved" in running.events()
    assert "InstanceReplaced" not in running.events()


async def test_a_pod_that_is_refused_stops_nothing_else(running: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    create = FakeKube.create

    async def refuse(self: FakeKube, manifest: Manifest) -> Object:
        if manifest["metadata"]["name"] == "orders-storage-1":
            raise KubeError("403 exceeded quota: pods")
        return await create(self, manifest)

    monkeypatch.setattr(FakeKube, "create", refuse)
    old = running.writer_pod()
    running.kube.remove("Pod", KEY.namespace, "orders-storage-1")
    running.kube.remove("Pod", KEY.namespace, old["metadata"]["name"])
    running.world.run()
    await running.settle()
    assert running.status["status"] == "available"
    assert running.status["readers"] == 2
    assert running.status["storage"] == "5/6"
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    assert "exceeded quota" in told(running)["Reconciled"]["message"]
    monkeypatch.undo()
    await running.settle()
    assert told(running)["Reconciled"]["status"] == "True"


async def test_an_instance_of_the_user_keeps_its_other_owner(running: Stage) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "name": "shop", "uid": "u-shop", "controller": True}
    metadata = {"name": "mine", "namespace": KEY.namespace, "ownerReferences": [theirs]}
    running.kube.put({"kind": "DBInstance", "metadata": metadata, "spec": {"clusterName": KEY.name}})
    await running.settle()
    owners = running.kube.objects["DBInstance", KEY.namespace, "mine"]["metadata"]["ownerReferences"]
    assert owners[0] == theirs
    assert [(o["kind"], o["controller"]) for o in owners[1:]] == [("DBCluster", False)]
