"""What goes wrong around the operator must not keep it from what matters: a writer, endpoints, and the truth told."""

from typing import Any

import pytest
from borealis_operator.api.errors import KubeError
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.plan.facts import Manifest

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
