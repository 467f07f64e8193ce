"""Objects that a user deletes, damages or strips of labels: seen as what they are, mended where the truth is known."""

from dataclasses import replace
from typing import Any

import pytest
from borealis_engine.contract.volume import Generation, Joining, Member, MemberId, VolumeConfig
from borealis_operator.plan.volume import rebuild_config

from .conftest import KEY, Stage

ROLE = "borealis.dev/role"
KINDS = ("Pod", "PersistentVolumeClaim", "Secret", "ConfigMap", "Service", "EndpointSlice")


def told(stage: Stage) -> dict[str, Any]:
    return {c["type"]: c for c in stage.status["conditions"]}


def config(stage: Stage) -> VolumeConfig:
    return VolumeConfig.from_json(stage.kube.objects["ConfigMap", KEY.namespace, "orders-volume"]["data"]["volume"])


def owned(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return [o for (k, ns, _), o in stage.kube.objects.items() if k == kind and ns == KEY.namespace]


def silence(stage: Stage, count: int) -> list[str]:
    """Unplug storage nodes; give their uids."""
    uids = [stage.pod(f"orders-storage-{n}")["metadata"]["uid"] for n in range(count)]
    for uid in uids:
        stage.world.unplug(uid, silent_for=1.0)
    return uids


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["all", "cluster", "component"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_lost_its_labels_is_not_taken_for_lost_and_gets_them_back(
    running: Stage, kind: str, lost: str
) -> None:
    before = {o["metadata"]["name"]: dict(o["metadata"]["labels"]) for o in owned(running, kind)}
    everything = sorted(key for key in running.kube.objects if key[0] != "Event")
    for live in owned(running, kind):
        labels = live["metadata"]["labels"]
        for name in [n for n in labels if lost == "all" or n == f"borealis.dev/{lost}"]:
            del labels[name]
    running.kube.writes.clear()
    await running.settle()
    assert {o["metadata"]["name"]: o["metadata"]["labels"] for o in owned(running, kind)} == before
    assert sorted(key for key in running.kube.objects if key[0] != "Event") == everything
    assert {verb for verb, what, _ in running.kube.writes if what == kind} <= {"patch"}
    stripped = any(lost == "all" or f"borealis.dev/{lost}" in labels for labels in before.values())
    assert ("LabelsRestored" in running.events()) == stripped
    assert told(running)["Ready"]["status"] == told(running)["Reconciled"]["status"] == "True"


async def test_a_writer_without_labels_is_still_the_writer(running: Stage) -> None:
    writer, asked = running.status["writer"], len(running.world.asked)
    running.writer_pod()["metadata"]["labels"] = {}
    await running.reconciler.once(KEY)
    assert running.status["writer"] == writer
    assert len(running.world.asked) == asked


# --- the volume's configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["deleted", "emptied", "nonsense"])
async def test_the_configuration_is_made_again_as_the_storage_nodes_hold_it(running: Stage, harm: str) -> None:
    before = config(running)
    live = running.kube.objects["ConfigMap", KEY.namespace, "orders-volume"]
    if harm == "deleted":
        running.kube.remove("ConfigMap", KEY.namespace, "orders-volume")
    else:
        live["data"] = {} if harm == "emptied" else {"volume": "{}"}
    running.kube.writes.clear()
    await running.settle()
    assert config(running) == before
    assert "VolumeConfigRebuilt" in running.events()
    assert not [w for w in running.kube.writes if w[1] in ("Pod", "PersistentVolumeClaim")]
    assert told(running)["Ready"]["status"] == "True"


async def test_without_four_that_agree_it_is_told_and_ready_is_false_but_a_failover_goes_on(running: Stage) -> None:
    before = config(running)
    silenced = silence(running, 3)
    running.kube.remove("ConfigMap", KEY.namespace, "orders-volume")
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    for _ in range(6):
        await running.reconciler.once(KEY)
        running.world.run()
    ready = told(running)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "StateBroken")
    assert "of which 3 answer" in ready["message"]
    assert running.named("ConfigMap") == []
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    running.world.unplugged.pop(silenced[0])
    await running.reconciler.once(KEY)
    assert config(running) == before


async def test_a_cluster_that_had_a_writer_is_not_begun_anew_when_all_of_its_volume_is_gone(running: Stage) -> None:
    gone = [key for key in running.kube.objects if key[0] in ("ConfigMap", "PersistentVolumeClaim", "Pod")]
    for key in gone:
        del running.kube.objects[key]
    await running.settle()
    assert ("ConfigMap", KEY.namespace, "orders-volume") not in running.kube.objects
    ready = told(running)["Ready"]
    assert ready["status"] == "False"
    assert "would disown the data" in told(running)["Reconciled"]["message"]


def test_the_highest_generation_that_four_agree_on_counts(stage: Stage) -> None:
    members = tuple(Member(id=MemberId(f"{n:016x}"), name=f"s-{n}", zone="a", address="old") for n in range(6))
    old = VolumeConfig(cluster_uid="u", generation=Generation(1), revision=1, sealed=True, members=members)
    fresh = replace(old, revision=2, members=tuple(replace(m, address="new") for m in members))
    joins = Joining(member=Member(id=MemberId("f" * 16), name="s-6", zone="a"), replaces=members[0].id)
    later = replace(old, generation=Generation(2), joining=joins)
    ids = [str(m.id) for m in members]
    assert rebuild_config(dict(zip(ids, [old, old, fresh, old, later, later], strict=True)), "u") == fresh
    assert rebuild_config(dict(zip(ids, [old, old, later, later, later, later], strict=True)), "u") == later
    assert rebuild_config(dict(zip(ids, [old, old, old, later, later, later], strict=True)), "u") is None
    assert rebuild_config(dict.fromkeys(ids, old), "another cluster") is None
    assert rebuild_config(dict.fromkeys([f"stranger-{n}" for n in range(6)], old), "u") is None
    assert rebuild_config(dict.fromkeys(ids, replace(old, sealed=False)), "u") is None


# --- the authority ---------------------------------------------------------------------------------------------------


async def test_a_lost_authority_is_told_with_what_follows_and_service_goes_on(running: Stage) -> None:
    secret = running.kube.objects["Secret", KEY.namespace, "orders-ca"]
    running.kube.remove("Secret", KEY.namespace, "orders-ca")
    await running.settle()
    assert told(running)["CertificateAuthority"]["status"] == "False"
    assert "restore it from a backup" in told(running)["CertificateAuthority"]["message"]
    assert "CertificateAuthorityMissing" in running.events()
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert running.status["writer"] != old["metadata"]["name"]
    running.kube.put(secret)
    await running.settle()
    assert "CertificateAuthority" not in told(running)


async def test_a_leaf_that_cannot_be_issued_makes_ready_false(running: Stage) -> None:
    for name in ("orders-ca", "orders-tls-operator"):
        running.kube.remove("Secret", KEY.namespace, name)
    for _ in range(3):
        await running.reconciler.once(KEY)
    assert told(running)["Ready"]["status"] == "False"
    assert "Secret 'orders-ca' is gone" in told(running)["Ready"]["message"]
