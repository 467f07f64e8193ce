"""The commands of the documentation, typed page by page into a namespace of their own."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.database import Database
from e2e.kind import Kind
from e2e.process import OUT, ROOT, run
from e2e.release import Release
from e2e.report import Scenario

PAGES = sorted(p.name for p in (ROOT / "docs").glob("*.md") if "<!-- run: kind -->" in p.read_text())
NAMESPACE = "docs"
PAGE_S = 480


@pytest.fixture
def environment(cluster: Kind) -> Iterator[dict[str, str]]:
    """What a user has whose context names a namespace."""
    kubeconfig = OUT / "kubeconfig-docs"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    kubeconfig.chmod(0o600)
    cluster.kubectl("create", "namespace", NAMESPACE)
    words = ("config", "set-context", "--current", "--namespace", NAMESPACE)
    run("kubectl", "--kubeconfig", str(kubeconfig), *words)
    yield {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=150s", timeout=160)


@pytest.mark.parametrize("page", PAGES)
def test_commands(
    page: str, scenario: Scenario, quickstart: Database, release: Release, environment: dict[str, str]
) -> None:
    """The commands of the documentation."""
    release.await_ready(120)  # the quickstart is there only because it brings the operator
    told = run(sys.executable, "tools/doc_commands.py", "run", "kind", f"docs/{page}", timeout=PAGE_S, env=environment)
    scenario.figures["blocks"] = told.count(f"--- docs/{page}:")
    assert scenario.figures["blocks"]
