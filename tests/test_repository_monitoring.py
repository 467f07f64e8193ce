"""Alerts, their pages and the dashboard speak of metrics that exist, and of one another."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.observability import NAME, foreign_labels, known, samples, used
from tests.repository import ROOT

CHART = ROOT / "helm" / "borealis"
RUNBOOKS = ROOT / "docs" / "runbooks"
HEADINGS = ["What users see", "Look", "Heal"]
# What Prometheus or the chart's PodMonitors add to every series.
ADDED = frozenset({"dbcluster_namespace", "dbcluster", "namespace", "pod", "component"})


def rules() -> list[dict[str, Any]]:
    """Give the alert rules."""
    document = yaml.safe_load((CHART / "monitoring" / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> Any:
    """Give the dashboard."""
    return json.loads((CHART / "monitoring" / "dashboard.json").read_text())


def expressions() -> Iterator[str]:
    """Give the expressions of all rules and panels."""
    yield from (rule["expr"] for rule in rules())
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def test_expressions_use_metrics_that_exist() -> None:
    names = samples(known())
    assert [(name, text) for text in expressions() for name in used(text) if name not in names] == []
    assert [text for text in expressions() if not used(text)] == []


def test_expressions_match_labels_that_exist() -> None:
    names = {name: labels | ADDED for name, labels in samples(known()).items()}
    assert foreign_labels(expressions(), names) == []


def test_a_metric_or_label_that_is_not_there_is_seen() -> None:
    names = samples(known())
    assert used("rate(borealis_storage_nonsense_total[5m])") - set(names) == {"borealis_storage_nonsense_total"}
    assert foreign_labels(['borealis_instance_role{rule="writer"}'], names) == ["borealis_instance_role: rule"]


def test_parentheses_and_braces_are_closed() -> None:
    for text in expressions():
        bare = re.sub(r'"[^"]*"', "", text)
        assert all(bare.count(opened) == bare.count(closed) for opened, closed in ("()", "{}", "[]")), text


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.name != "README.md") == sorted(names)
    assert [rule["annotations"]["runbook_url"] for rule in rules()] == [f"RUNBOOKS/{name}.md" for name in names]
    index = (RUNBOOKS / "README.md").read_text()
    assert set(re.findall(r"^\| \[(\w+)\]", index, re.MULTILINE)) == set(names)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_and_how_bad(rule: dict[str, Any]) -> None:
    severity = rule["labels"]["severity"]
    assert severity in ("critical", "warning")
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    page = (RUNBOOKS / f"{rule['alert']}.md").read_text()
    assert page.startswith(f"# {rule['alert']}\n\nSeverity: {severity}. ")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS


def test_pages_use_metrics_that_exist() -> None:
    names = set(samples(known())) | set(known())
    pages = [*RUNBOOKS.glob("*.md"), ROOT / "docs" / "troubleshooting.md", ROOT / "docs" / "operations.md"]
    told = {(path.name, name) for path in pages if path.exists() for name in NAME.findall(path.read_text())}
    assert [found for found in sorted(told) if found[1] not in names] == []


def test_panels_lie_beside_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.skipif(not shutil.which("helm"), reason="helm is not installed")
@pytest.mark.parametrize("kind", ["PrometheusRule", "ConfigMap"])
def test_the_chart_brings_them_where_they_are_asked_for(kind: str) -> None:
    asked = ["podMonitors.enabled=true", "dashboard.enabled=true", "alerts.enabled=true", f"alerts.kind={kind}"]
    asked.append("alerts.runbooks=https://wiki/borealis")
    rendered = render(*(word for value in asked for word in ("--set", f"monitoring.{value}")))
    found = {(d["kind"], d["metadata"]["name"]): d for d in rendered}
    assert json.loads(found["ConfigMap", "borealis-operator-dashboard"]["data"]["borealis.json"]) == dashboard()
    assert ("PodMonitor", "borealis-operator-databases") in found
    alerts = found[kind, "borealis-operator-alerts"]
    groups = (alerts["spec"] if kind == "PrometheusRule" else yaml.safe_load(alerts["data"]["borealis.yaml"]))["groups"]
    first = groups[0]["rules"][0]
    assert first["annotations"]["runbook_url"] == f"https://wiki/borealis/{first['alert']}.md"


@pytest.mark.skipif(not shutil.which("helm"), reason="helm is not installed")
def test_the_chart_brings_none_of_them_unasked() -> None:
    assert {d["kind"] for d in render()} & {"PodMonitor", "PrometheusRule", "ConfigMap"} == set()


def render(*more: str) -> list[dict[str, Any]]:
    """Give what the chart renders."""
    command = ["helm", "template", "borealis", str(CHART), "--kube-version", "1.34.0", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [d for d in yaml.safe_load_all(done.stdout) if d]
