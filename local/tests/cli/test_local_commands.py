"""The `borealis local` commands against a server without operator."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from borealis_local.cli import background
from borealis_local.cli.clusters import Login, is_available, progress
from borealis_local.main import app
from borealis_local.state import State
from click.testing import Result
from typer.testing import CliRunner

Run = Callable[..., Result]
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "c",
                "image": "local",
                "command": [sys.executable, "-c", "import time; print('hello', flush=True); time.sleep(600)"],
            }
        ],
    },
}


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """State directory of a server that `up` started."""
    path = Path(tempfile.mkdtemp(prefix="blu"))
    yield path
    background.stop(State(root=path))
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def run(root: Path) -> Run:
    """Run `borealis local ...` on that state."""

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["local", *arguments], env={"BOREALIS_STATE": str(root), "COLUMNS": "200"})
        assert result.exit_code == code, result.output + str(result.exception)
        return result

    invoke("up", "--empty", "--no-operator")
    return invoke


def test_up_brings_kinds_and_nodes(run: Run) -> None:
    assert "dbclusters.borealis.dev" in run("get", "crd").output
    nodes = json.loads(run("get", "nodes", "-o", "json").output)["items"]
    zones = [n["metadata"]["labels"]["topology.kubernetes.io/zone"] for n in nodes]
    assert sorted(zones) == ["zone-a", "zone-a", "zone-b", "zone-b", "zone-c", "zone-c"]


def test_apply_get_logs_delete(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(POD))
    assert "pod/p applied" in run("apply", "-f", str(file)).output
    assert run("get", "po", "-o", "name").output.strip() == "p"
    assert yaml.safe_load(run("get", "pod", "p", "-o", "yaml").output)["metadata"]["name"] == "p"
    assert "p" in run("status").output
    run("logs", "p")
    run("delete", "pod", "p", "--now")
    assert "not found" in run("get", "pod", "p", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["get", "unicorns"], 'no kind "unicorns"'),
        (["psql"], "there is no DBCluster"),
        (["uri", "--cluster", "none"], 'no DBCluster "none"'),
        (["kill", "writer"], "there is no DBCluster"),
        (["kill", "node", "9"], "no such node"),
        (["apply", "-f", "/none/such.yaml"], "cannot read"),
        (["logs", "none"], 'pods "none" not found'),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, list) else "",
)
def test_errors_are_a_line_on_stderr(run: Run, arguments: list[str], told: str) -> None:
    result = run(*arguments, code=1)
    assert told in result.stderr
    assert result.stderr.startswith("borealis: ")
    assert "Traceback" not in result.output


def test_kill_node_and_zone(run: Run) -> None:
    assert "node-2 without power" in run("kill", "node", "2", "--seconds", "0.2").output
    assert "node-3, node-6 without power" in run("kill", "zone", "c", "--seconds", "0.2").output


def test_without_a_server_the_next_command_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["local", "status"], env={"BOREALIS_STATE": str(tmp_path)})
    assert result.exit_code == 1
    assert "borealis local up" in result.stderr


@pytest.mark.parametrize(
    "command", ["up", "down", "status", "kubeconfig", "psql", "uri", "apply", "get", "delete", "logs"]
)
def test_help_has_examples(command: str) -> None:
    result = CliRunner().invoke(app, ["local", command, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output


def test_down_stops_and_purge_deletes(run: Run, root: Path) -> None:
    assert "data is kept" in run("down").output
    assert background.running(State(root=root)) is None
    assert (root / "api.db").exists()
    assert "was not up" in run("down", "--purge").output
    assert not root.exists()


CLUSTER = {"metadata": {"name": "q", "generation": 2}, "spec": {"readers": 2}}
DONE = {"observedGeneration": 2, "status": "available", "readers": 2, "storage": "6/6", "writer": "w"}


@pytest.mark.parametrize(
    ("status", "available"),
    [
        (DONE, True),
        ({**DONE, "observedGeneration": 1}, False),
        ({**DONE, "readers": 1}, False),
        ({**DONE, "storage": "5/6"}, False),
        ({**DONE, "status": "failing-over"}, False),
        ({}, False),
    ],
    ids=["done", "not observed", "a reader short", "a node short", "failing over", "new"],
)
def test_when_a_cluster_is_complete(status: dict[str, object], available: bool) -> None:
    assert is_available({**CLUSTER, "status": status}) is available


def test_progress_is_a_line() -> None:
    assert progress({**CLUSTER, "status": DONE}) == "status available, storage 6/6, writer w, readers 2/2"
    assert progress(CLUSTER) == "waiting for the operator"


def test_uris_are_quoted() -> None:
    login = Login(host="127.0.0.2", port=5432, user="u", password="a/b@c", database="d")
    assert login.uri == "postgresql://u:a%2Fb%40c@127.0.0.2:5432/d"
