"""What the chart packages and what the plain manifest says is what the sources say: neither can drift."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

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
