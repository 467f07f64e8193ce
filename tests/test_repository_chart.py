"""What the chart packages and what the plain manifest says is what the sources say: neither can drift."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from borealis_operator.api.catalogue import parse_operator_peer

from tests.repository import ROOT

CHART = ROOT / "helm" / "borealis"
needs_helm = pytest.mark.skipif(not shutil.which("helm"), reason="helm is not installed")


def crds() -> dict[str, Any]:
    """Give the definitions of `crds/` by name."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    return {document["metadata"]["name"]: document for document in documents}


def definitions(text: str) -> dict[str, Any]:
    """Give the definitions in a rendered manifest by name."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {d["metadata"]["name"]: d for d in documents if d["kind"] == "CustomResourceDefinition"}


def test_chart_packages_the_definitions_themselves() -> None:
    assert (CHART / "crds").resolve() == ROOT / "crds"
    assert crds()


def test_manifest_holds_the_definitions() -> None:
    assert definitions((ROOT / "deploy" / "borealis.yaml").read_text()) == crds()


@needs_helm
def test_manifest_is_what_the_chart_renders() -> None:
    done = subprocess.run([ROOT / "deploy" / "render"], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == (ROOT / "deploy" / "borealis.yaml").read_text(), "say: make manifest"


@needs_helm
@pytest.mark.parametrize(
    "wrong", ["operator.replicas=0", "engine.images.99=x", "operatr.replicas=1", "registry=host/"], ids=str
)
def test_schema_refuses(wrong: str) -> None:
    command = ["helm", "template", "borealis", str(CHART), "--kube-version", "1.34.0", "--set", wrong]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "specifications of the schema" in done.stderr


def rendered(*arguments: str) -> list[dict[str, Any]]:
    """Give what the chart makes with these values."""
    command = [
        "helm",
        "template",
        "borealis",
        str(CHART),
        "--namespace",
        "ours",
        "--kube-version",
        "1.34.0",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def environment(documents: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Give the operator's Deployment and the variables that it sets itself."""
    [deployment] = [d for d in documents if d["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return deployment, {each["name"]: each.get("value", "") for each in container["env"]}


def test_the_operator_knows_its_own_place_in_the_network() -> None:
    documents = list(yaml.safe_load_all((ROOT / "deploy" / "borealis.yaml").read_text()))
    deployment, variables = environment(documents)
    peer = parse_operator_peer(variables["BOREALIS_OPERATOR_PEER"])
    assert peer is not None
    assert peer["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": deployment["metadata"]["namespace"]
    }
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    [policy] = [d for d in documents if d["kind"] == "NetworkPolicy"]
    assert policy["spec"]["podSelector"] == peer["podSelector"]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": 7402, "protocol": "TCP"}]}]


@needs_helm
def test_one_value_switches_network_policies_off() -> None:
    documents = rendered("--set", "networkPolicies.enabled=false")
    assert [d for d in documents if d["kind"] == "NetworkPolicy"] == []
    assert "BOREALIS_OPERATOR_PEER" not in environment(documents)[1]


def test_schema_knows_every_value() -> None:
    schema, values = (
        json.loads((CHART / "values.schema.json").read_text()),
        yaml.safe_load((CHART / "values.yaml").read_text()),
    )

    def unknown(node: dict[str, Any], value: Any, path: str) -> list[str]:
        known = node.get("properties")
        if known is None or not isinstance(value, dict):
            return []
        return [
            found
            for key, inner in value.items()
            for found in ([f"{path}.{key}"] if key not in known else unknown(known[key], inner, f"{path}.{key}"))
        ]

    assert unknown(schema, values, "values") == []


def test_versions_agree() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    chart, values = (
        yaml.safe_load((CHART / "Chart.yaml").read_text()),
        yaml.safe_load((CHART / "values.yaml").read_text()),
    )
    assert version
    assert chart["version"] == chart["appVersion"] == version[1]
    assert all(image.endswith(f"{major}-{version[1]}") for major, image in values["engine"]["images"].items())
