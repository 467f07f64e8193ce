"""What might go on for ever or stop everything: restarts that change nothing, statuses written in turn, odd Secrets."""

import base64

import pytest
from borealis_operator.api.errors import KubeError
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.plan.facts import Manifest

from .conftest import KEY, Stage


def spoil(stage: Stage, secret: str, key: str) -> None:
    """Put bytes into a Secret that are no text."""
    stage.kube.objects["Secret", KEY.namespace, secret]["data"][key] = base64.b64encode(b"\xff\xfe").decode()


def lose_writer(stage: Stage) -> str:
    old = str(stage.status["writer"])
    stage.kube.remove("Pod", KEY.namespace, old)
    stage.world.run()
    return old


@pytest.mark.parametrize("key", ["username", "dbname", "password", "uri", "ca.crt"])
async def test_a_connection_secret_that_is_no_text_stops_no_failover(running: Stage, key: str) -> None:
    spoil(running, "orders-master", key)
    old = lose_writer(running)
    await running.settle()
    assert running.status["writer"] not in ("", old)


@pytest.mark.parametrize("secret", ["orders-tls-storage", "orders-tls-instance", "orders-tls-server", "orders-ca"])
async def test_a_certificate_that_is_no_text_stops_no_failover(running: Stage, secret: str) -> None:
    spoil(running, secret, "tls.crt")
    old = lose_writer(running)
    await running.settle()
    assert running.status["writer"] not in ("", old)


async def test_a_master_secret_of_somebody_else_stops_no_repair(running: Stage) -> None:
    running.kube.remove("Secret", KEY.namespace, "orders-master")
    metadata = {"name": "orders-master", "namespace": KEY.namespace}
    running.kube.put({"kind": "Secret", "metadata": metadata, "data": {}})
    old = lose_writer(running)
    for _ in range(20):
        await running.reconciler.once(KEY)
        running.world.run()
        running.now += 2.0
    assert running.status["writer"] not in ("", old)
    assert running.status["readers"] == 2


async def test_an_image_that_knows_no_parameters_is_not_started_again_and_again(running: Stage) -> None:
    """The chart names engine images of an older release: another pod would know no more."""
    spec = running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    spec["parameters"] = {"work_mem": "8MB"}
    for _ in range(60):
        running.world.outdated = {o["metadata"]["uid"] for (k, _, _), o in running.kube.objects.items() if k == "Pod"}
        await running.reconciler.once(KEY)
        running.world.run()
        running.now += 2.0
    assert [w for w in running.kube.writes if w[:2] == ("delete", "Pod")] == []


async def test_a_snapshot_that_cannot_be_written_does_not_turn_the_status_to_and_fro(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = FakeKube.patch

    async def refuse(
        self: FakeKube, kind: str, namespace: str, name: str, body: Manifest, *, status: bool = False
    ) -> Object:
        if kind == "Snapshot":
            raise KubeError("403 a webhook denies it")
        return await patch(self, kind, namespace, name, body, status=status)

    monkeypatch.setattr(FakeKube, "patch", refuse)
    metadata = {"name": "s", "namespace": KEY.namespace}
    running.kube.put({"kind": "Snapshot", "metadata": metadata, "spec": {"clusterName": KEY.name}})
    for _ in range(3):
        await running.reconciler.once(KEY)
    before = len(running.kube.writes)
    for _ in range(3):
        await running.reconciler.once(KEY)
    assert running.kube.writes[before:] == []


async def test_a_restart_that_is_denied_is_not_announced_again_and_again(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deny(self: FakeKube, kind: str, namespace: str, name: str, *, uid: str) -> None:
        raise KubeError("403 a webhook denies it")

    monkeypatch.setattr(FakeKube, "delete", deny)
    spec = running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    spec["instance"] = {"dbInstanceClass": "db.small"}
    for _ in range(10):
        await running.reconciler.once(KEY)
        running.now += 2.0
    assert "InstanceRestarting" not in running.events()
    assert running.events().count("RolloutStarted") == 1
