"""Fixtures of the run: one kind cluster, one installed operator, one database, one client pod, one report.

KEEP=1 leaves the cluster for a look; REUSE=1 takes one that is there; DEPTH=full repeats the failovers.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import pykube
import pytest
import yaml

from e2e import evidence, images, kind
from e2e.database import Database
from e2e.process import OUT, ROOT, run
from e2e.release import NAMESPACE, Release
from e2e.report import Report, Scenario
from e2e.workload import Client

EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
READERS = int(EXAMPLE["spec"]["readers"])
# A new operator comes first and a deleted database last; between them each theme leaves the quickstart whole.
THEMES = (
    "thin_path",
    "tls",
    "parameters",
    "scaling",
    "bad_input",
    "operations",
    "docs",
    "healing",
    "damage",
    "gray",
    "strangers",
    "statements",
    "deletion",
)
REPEATS = [str(n + 1) for n in range(5 if os.environ.get("DEPTH") == "full" else 1)]
again = pytest.mark.parametrize("repeat", REPEATS, ids=REPEATS)


@pytest.fixture(scope="session")
def report() -> Report:
    """The report of this run."""
    return Report(OUT / "report.json")


@pytest.fixture(scope="session")
def cluster() -> Iterator[kind.Kind]:
    """A kind cluster of this run's own."""
    made = kind.create()
    yield made
    if os.environ.get("KEEP"):
        print(f"\nkept: kubectl --kubeconfig {made.kubeconfig} get dbclusters,pods -o wide")  # noqa: T201
    else:
        kind.delete(made)


@pytest.fixture(scope="session")
def published(cluster: kind.Kind) -> images.Images:
    """The images of the working tree, where the cluster finds them."""
    return images.publish(cluster)


@pytest.fixture(scope="session")
def release(cluster: kind.Kind) -> Release:
    """The Helm release; the first scenario installs it."""
    return Release(kind=cluster)


@pytest.fixture(scope="session")
def database(cluster: kind.Kind) -> Iterator[Database]:
    """The DBCluster of `examples/quickstart.yaml`; the first scenario applies it."""
    api = pykube.HTTPClient(pykube.KubeConfig.from_file(str(cluster.kubeconfig)))
    yield Database(api=api, namespace="default", name=EXAMPLE["metadata"]["name"])
    api.session.close()


@pytest.fixture(scope="session")
def client(cluster: kind.Kind, published: images.Images) -> Client:
    """The client pod."""
    made = Client(kind=cluster)
    made.start(published.client)
    return made


@pytest.fixture(scope="session")
def quickstart(cluster: kind.Kind, published: images.Images, release: Release, database: Database) -> Database:
    """The database, whole, also when the scenario that installs it was left out of this run."""
    if not cluster.kubectl("get", "dbcluster", database.name, "-o", "name", check=False):
        release.install(published)
        cluster.kubectl("apply", "-f", "examples/quickstart.yaml")
    database.await_whole(READERS, timeout=300)
    return database


@pytest.fixture
def impatient(quickstart: Database) -> Iterator[None]:
    """Have a storage node that ails replaced after ten seconds, as long as the scenario lasts."""
    quickstart.be_patient("10s")
    yield
    quickstart.be_patient("5m")


@pytest.fixture
def scenario(request: pytest.FixtureRequest, report: Report, cluster: kind.Kind) -> Iterator[Scenario]:
    """The report's line for this test, named by the first line of its docstring."""
    first = (request.function.__doc__ or request.node.name).strip().splitlines()[0].rstrip(".")
    repeat = getattr(request.node, "callspec", None)
    line = report.begin(f"{first} ({repeat.id})" if repeat and repeat.id != "1" else first)
    yield line
    passed = getattr(request.node, "passed", False)
    report.end(line, "passed" if passed else "failed")
    print(f"\n{json.dumps(line.to_json())}")  # noqa: T201
    if not passed:
        folder = evidence.collect(cluster, request.node.name, ("default", NAMESPACE))
        print(f"\nevidence in {folder.relative_to(OUT.parent.parent)}")  # noqa: T201


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the themes in order; one that `THEMES` does not name is an error."""
    items.sort(key=lambda item: THEMES.index(item.path.stem.removeprefix("test_")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Tell fixtures how the test itself ended."""
    outcome = yield
    if call.when == "call":
        item.passed = outcome.passed  # type: ignore[attr-defined]
    return outcome


def pytest_sessionfinish() -> None:
    """Repeat the report at the end of the output."""
    path = OUT / "report.json"
    if path.exists():
        print(f"\n{run('cat', str(path))}")  # noqa: T201
