"""A replacement harms nothing: no identity gets two disks, nothing is half written, and no foreign disk is deleted."""

import pytest
from borealis_operator.api.errors import KubeError
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import Crash, FakeKube
from borealis_operator.plan.facts import Manifest
from prometheus_client import REGISTRY

from .conftest import KEY, Stage
from .test_operator_gauges import LABELS
from .test_operator_healing import PVC, VICTIM, a_while, assert_healed, config, lose_claim, names, told


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"borealis_operator_cluster_{name}", LABELS)


async def test_a_replacement_in_numbers(running: Stage) -> None:
    assert (metric("storage_replacing"), metric("storage_replacements_total")) == (0, 0)
    running.world.slow.add("orders-storage-6")
    lose_claim(running)
    await a_while(running, 10)
    assert (metric("storage_replacing"), metric("storage_members_current")) == (1, 5)
    running.world.slow.clear()
    await running.settle()
    assert (metric("storage_replacing"), metric("storage_replacements_total")) == (0, 1)


async def test_only_the_new_one_may_format_and_only_while_it_joins(running: Stage) -> None:
    running.world.slow.add("orders-storage-6")
    lose_claim(running)
    await a_while(running, 8)
    joining = config(running).joining
    assert joining
    env = {n: running.pod(n)["spec"]["containers"][0]["env"] for n in running.named("Pod") if "storage" in n}
    assert {"name": "BOREALIS_FORMAT", "value": "true"} in env["orders-storage-6"]
    assert {"name": "BOREALIS_MEMBER_ID", "value": str(joining.member.id)} in env["orders-storage-6"]
    running.world.slow.clear()
    await running.settle()
    running.kube.remove("Pod", KEY.namespace, "orders-storage-6")
    await running.settle()
    again = running.pod("orders-storage-6")["spec"]["containers"][0]["env"]
    assert {"name": "BOREALIS_FORMAT", "value": "false"} in again
    assert_healed(running)


async def test_the_claim_comes_before_the_configuration_that_names_its_member(running: Stage) -> None:
    lose_claim(running)
    running.kube.writes.clear()
    await running.reconciler.once(KEY)
    moved = [w for w in running.kube.writes if w[1] in (PVC, "ConfigMap")]
    assert moved == [("create", PVC, "orders-storage-6"), ("replace", "ConfigMap", "orders-volume")]
    claim = running.kube.objects[PVC, KEY.namespace, "orders-storage-6"]
    joining = config(running).joining
    assert joining
    assert claim["metadata"]["annotations"]["borealis.dev/member"] == joining.member.id


async def test_a_claim_that_is_refused_changes_no_configuration(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = FakeKube.create

    async def refuse(self: FakeKube, manifest: Manifest) -> Object:
        if manifest["kind"] == PVC:
            raise KubeError("403 exceeded quota: persistentvolumeclaims")
        return await create(self, manifest)

    monkeypatch.setattr(FakeKube, "create", refuse)
    before = config(running)
    lose_claim(running)
    await a_while(running, 20)
    assert config(running) == before
    assert "exceeded quota" in told(running, "Reconciled")["message"]
    assert running.status["status"] == "available"
    monkeypatch.undo()
    await running.settle()
    assert_healed(running)


async def test_an_older_configuration_from_a_backup_costs_no_disk(running: Stage) -> None:
    before = dict(running.kube.objects["ConfigMap", KEY.namespace, "orders-volume"]["data"])
    lose_claim(running)
    await running.settle()
    running.kube.objects["ConfigMap", KEY.namespace, "orders-volume"]["data"] = before
    await a_while(running, 30)
    assert "orders-storage-6" in running.named(PVC)
    assert config(running).generation == 1
    assert "put back from a backup" in told(running, "StorageHealthy")["message"]


async def test_what_somebody_else_made_is_not_cleared_up(running: Stage) -> None:
    labels = running.kube.objects[PVC, KEY.namespace, "orders-storage-0"]["metadata"]["labels"]
    for name in ("orders-storage-9", "orders-storage-copy"):
        running.kube.put(
            {"kind": PVC, "metadata": {"name": name, "namespace": KEY.namespace, "labels": labels}, "spec": {}}
        )
    await a_while(running, 10)
    assert {"orders-storage-9", "orders-storage-copy"} <= set(running.named(PVC))


@pytest.mark.parametrize("scenario", ["complete", "give-up"])
async def test_a_crash_after_each_write_of_a_replacement_converges(running: Stage, scenario: str) -> None:
    """Crash after 0, 1, 2, ... writes of each pass, restart with no memory, and end where a clean run ends."""
    spec = running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    spec["storage"] = {"replacementDelay": "10s"}
    uid = running.pod(VICTIM)["metadata"]["uid"]
    if scenario == "give-up":
        running.world.slow |= {f"orders-storage-{n}" for n in range(6, 40)}
        running.world.unplug(uid, silent_for=1.0)
    else:
        lose_claim(running)
    crashes = 0
    for budget in range(300):
        if scenario == "give-up" and budget == 120:
            assert config(running).generation > 1
            running.world.unplugged.clear()
        running.kube.crash_after = budget % 5
        try:
            await running.reconciler.once(KEY)
        except Crash:
            crashes += 1
            running.restart_operator()
        running.world.run()
        running.now += 2.0
    running.kube.crash_after = None
    await running.settle()
    assert crashes > 3
    assert config(running).joining is None
    assert running.status["storage"] == "6/6"
    assert (VICTIM in names(running)) is (scenario == "give-up")
    assert running.named(PVC) == names(running)
    assert [n for n in running.named("Pod") if "storage" in n] == names(running)
    assert len(running.world.disks.values()) == len(set(running.world.disks.values()))
