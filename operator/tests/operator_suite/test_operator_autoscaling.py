"""Readers by load: the HorizontalPodAutoscaler as asked, readers within its bounds, and what ails it told."""

from typing import Any

import pytest
from borealis_operator.api.autoscaling import parse_autoscaling
from borealis_operator.api.errors import KubeError
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.plan.facts import Manifest

from .conftest import KEY, Stage
from .test_operator_faults import told

NAME = "orders-readers"


def scaler(stage: Stage) -> dict[str, Any]:
    return stage.kube.objects["HorizontalPodAutoscaler", KEY.namespace, NAME]


def spec(stage: Stage) -> dict[str, Any]:
    live: dict[str, Any] = stage.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    return live


def report(stage: Stage, **conditions: tuple[str, str, str]) -> None:
    """Have the HorizontalPodAutoscaler say things of itself."""
    scaler(stage)["status"] = {
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "message": message}
            for kind, (status, reason, message) in conditions.items()
        ]
    }


@pytest.fixture
async def scaling(stage: Stage) -> Stage:
    """A cluster of two to four readers that has come to rest."""
    stage.declare({"readers": 1, "readerAutoscaling": {"minReaders": 2, "maxReaders": 4, "targetCPUUtilization": 70}})
    await stage.settle()
    return stage


async def test_the_autoscaler_is_as_asked(scaling: Stage) -> None:
    wanted = scaler(scaling)["spec"]
    assert wanted["scaleTargetRef"] == {"apiVersion": "borealis.dev/v1alpha1", "kind": "DBCluster", "name": "orders"}
    assert (wanted["minReplicas"], wanted["maxReplicas"]) == (2, 4)
    assert wanted["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    windows = {way: wanted["behavior"][way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown")}
    assert windows == {"scaleUp": 0, "scaleDown": 300}
    assert scaler(scaling)["metadata"]["ownerReferences"][0]["kind"] == "DBCluster"


@pytest.mark.parametrize(("asked", "there"), [(1, 2), (3, 3), (9, 4)])
async def test_readers_stay_within_the_bounds(scaling: Stage, asked: int, there: int) -> None:
    spec(scaling)["readers"] = asked
    await scaling.settle()
    assert scaling.status["readers"] == there
    assert spec(scaling)["readers"] == asked


async def test_a_changed_section_changes_the_autoscaler_and_its_end_ends_it(scaling: Stage) -> None:
    spec(scaling)["readerAutoscaling"]["maxReaders"] = 6
    await scaling.settle()
    assert scaler(scaling)["spec"]["maxReplicas"] == 6
    spec(scaling).update(readers=3)
    del spec(scaling)["readerAutoscaling"]
    await scaling.settle()
    assert scaling.named("HorizontalPodAutoscaler") == []
    assert scaling.status["readers"] == 3
    assert "AutoscalingActive" not in told(scaling)


async def test_a_section_that_makes_no_sense_leaves_the_autoscaler_as_it_is(scaling: Stage) -> None:
    before = scaler(scaling)["spec"]
    spec(scaling)["readerAutoscaling"] = {"minReaders": 5, "maxReaders": 2}
    await scaling.settle()
    assert scaler(scaling)["spec"] == before


async def test_what_others_change_is_mended_and_defaults_are_left_alone(scaling: Stage) -> None:
    scaler(scaling)["spec"]["behavior"]["scaleUp"]["selectPolicy"] = "Max"
    before = list(scaling.kube.writes)
    await scaling.reconciler.once(KEY)
    assert scaling.kube.writes == before
    scaler(scaling)["spec"]["maxReplicas"] = 15
    await scaling.settle()
    assert scaler(scaling)["spec"]["maxReplicas"] == 4


WELL = ("True", "ValidMetricFound", "the HPA was able to calculate a replica count")
ABLE = ("True", "ReadyForNewScale", "recommended size matches current size")
NO_METRICS = ("False", "FailedGetResourceMetric", "unable to fetch metrics from resource metrics API")
MANY = ("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")
AILMENTS: dict[str, tuple[dict[str, tuple[str, str, str]], str, str, str]] = {
    "nothing yet": ({}, "False", "Waiting", "has not been looked at"),
    "well": ({"AbleToScale": ABLE, "ScalingActive": WELL}, "True", "Active", "2 to 4 readers, aiming at 70 %"),
    "no metrics": ({"ScalingActive": NO_METRICS}, "False", "FailedGetResourceMetric", "install metrics-server"),
    "no target": ({"AbleToScale": ("False", "FailedGetScale", "not found")}, "False", "FailedGetScale", "not found"),
    "limited": ({"ScalingActive": WELL, "ScalingLimited": MANY}, "True", "TooManyReaders", "maxReaders"),
}


@pytest.mark.parametrize(("says", "status", "reason", "words"), AILMENTS.values(), ids=AILMENTS)
async def test_what_ails_the_autoscaler_is_told(
    scaling: Stage, says: dict[str, tuple[str, str, str]], status: str, reason: str, words: str
) -> None:
    report(scaling, **says)
    await scaling.reconciler.once(KEY)
    condition = told(scaling)["AutoscalingActive"]
    assert (condition["status"], condition["reason"]) == (status, reason)
    assert words in condition["message"]
    assert told(scaling)["Ready"]["status"] == "True"


async def test_an_autoscaler_that_is_refused_keeps_nothing_else_from_being_done(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = FakeKube.create

    async def refuse(self: FakeKube, manifest: Manifest) -> Object:
        if manifest["kind"] == "HorizontalPodAutoscaler":
            raise KubeError("403 forbidden")
        return await create(self, manifest)

    monkeypatch.setattr(FakeKube, "create", refuse)
    stage.declare({"readerAutoscaling": {"maxReaders": 4}})
    for _ in range(12):
        await stage.reconciler.once(KEY)
        stage.world.run()
        stage.now += 2.0
    assert stage.status["status"] == "available"
    assert "403 forbidden" in told(stage)["Reconciled"]["message"]
    assert told(stage)["AutoscalingActive"]["reason"] == "Creating"


async def test_every_instance_requests_a_processor(scaling: Stage) -> None:
    pods = [scaling.pod(name) for name in scaling.named("Pod") if "instance" in name]
    assert len(pods) == 3
    for pod in pods:
        assert pod["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}}


async def test_the_selector_of_the_scale_subresource_finds_readers_only(scaling: Stage) -> None:
    wanted = dict(part.split("=") for part in scaling.status["selector"].split(","))
    found = [name for name in scaling.named("Pod") if wanted.items() <= scaling.pod(name)["metadata"]["labels"].items()]
    assert len(found) == scaling.status["readers"] == 2
    assert scaling.status["writer"] not in found


def test_clamping() -> None:
    scaling = parse_autoscaling({"minReaders": 2, "maxReaders": 4})
    assert [scaling.clamp(n) for n in (0, 2, 3, 4, 15)] == [2, 2, 3, 4, 4]
