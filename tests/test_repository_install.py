"""What the chart installs: the policy as its file says it, two operators of which a drain leaves one, its values."""

import json
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from borealis_operator.api.classes import ENV_INSTANCE_CLASSES, parse_classes

from tests.repository import ROOT

CHART = ROOT / "helm" / "borealis"
POLICY = CHART / "policies" / "deletion-protection.yaml"
POLICIES = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
pytestmark = pytest.mark.skipif(not shutil.which("helm"), reason="helm is not installed")


def helm(*values: str, version: str = "1.34.0") -> subprocess.CompletedProcess[str]:
    words = [word for value in values for word in ("--set", value)]
    command = ["helm", "template", "borealis", str(CHART), "--kube-version", version, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def rendered(*values: str) -> dict[str, Any]:
    """Give what the chart renders, by kind; of several of a kind the last."""
    done = helm(*values)
    assert done.returncode == 0, done.stderr
    return {d["kind"]: d for d in yaml.safe_load_all(done.stdout) if d}


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    """Give the plain variables of the operator's container."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {e["name"]: e["value"] for e in container["env"] if "value" in e}


def test_the_policy_is_what_its_file_says() -> None:
    told = {d["kind"]: d for d in yaml.safe_load_all(POLICY.read_text())}
    found = rendered()
    assert set(told) == POLICIES
    assert {kind: found[kind] for kind in told} == told
    assert (
        told["ValidatingAdmissionPolicyBinding"]["spec"]["policyName"]
        == (told["ValidatingAdmissionPolicy"]["metadata"]["name"])
    )


def test_the_policy_can_be_left_out() -> None:
    assert not POLICIES & set(rendered("deletionProtectionPolicy.enabled=false"))


def test_a_kubernetes_without_policies_is_told_what_to_set() -> None:
    done = helm(version="1.29.0")
    assert done.returncode != 0
    assert "deletionProtectionPolicy.enabled=false" in done.stderr
    assert helm("deletionProtectionPolicy.enabled=false", version="1.29.0").returncode == 0


def test_a_drain_leaves_one_of_two_operators() -> None:
    found = rendered()
    assert found["Deployment"]["spec"]["replicas"] == 2
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] == 1
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels


@pytest.mark.parametrize("value", ["operator.replicas=1", "operator.podDisruptionBudget.enabled=false"])
def test_no_budget_stands_in_the_way_of_a_drain_where_it_helps_nobody(value: str) -> None:
    assert "PodDisruptionBudget" not in rendered(value)


def test_instance_classes_reach_the_operator() -> None:
    assert ENV_INSTANCE_CLASSES not in environment(rendered()["Deployment"])
    found = rendered("instanceClasses.db\\.tiny.cpu=250m", "instanceClasses.db\\.tiny.memory=512Mi")
    told = environment(found["Deployment"])[ENV_INSTANCE_CLASSES]
    assert json.loads(told) == {"db.tiny": {"cpu": "250m", "memory": "512Mi"}}
    assert parse_classes(told)["db.tiny"].memory == "512Mi"


@pytest.mark.parametrize(
    "wrong",
    [
        "instanceClasses.db\\.tiny.cpu=250m",
        "instanceClasses.db\\.tiny.gpu=1",
        "instanceClasses.DB.cpu=1",
        "monitoring.alerts.kind=Rule",
        "monitoring.alert.enabled=true",
        "monitoring.podMonitors.interval=soon",
        "deletionProtectionPolicy=true",
        "operator.podDisruptionBudget.minAvailable=2",
    ],
)
def test_schema_refuses_what_the_chart_does_not_know(wrong: str) -> None:
    done = helm(wrong)
    assert done.returncode != 0
    assert "specifications of the schema" in done.stderr
