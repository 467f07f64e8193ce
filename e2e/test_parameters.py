"""PostgreSQL's parameters under load: nobody notices a reload; restarts take the readers first, the writer last."""

import json
import time
from typing import Any

from e2e import scripts
from e2e.conftest import READERS, again
from e2e.database import Database
from e2e.kind import Kind
from e2e.process import await_that
from e2e.report import Scenario
from e2e.workload import Client, Ledger

CALM_S = 5.0  # a reload delays no commit for longer
SWITCHOVER_S = 30.0
RESTARTED = "track_activity_query_size"  # PostgreSQL's default is 1kB


def test_by_reload(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """A parameter changed by reload under load: on all instances, and no pod is replaced."""
    quickstart.await_whole(READERS, timeout=180)
    before = _uids(quickstart)
    with Ledger(client=client, url=quickstart.url(), name="reload") as ledger:
        start = time.monotonic()
        _set(cluster, quickstart, work_mem="9MB", log_min_duration_statement=2000)
        await_that("all have it", lambda: _everywhere(client, quickstart, "work_mem") == {"9MB"}, timeout=60)
        scenario.figures["seconds_to_reload"] = round(time.monotonic() - start, 1)
        quickstart.await_condition("ParametersApplied", "True", timeout=60)
        ledger.await_commits(50, timeout=30)
    ledger.judge(scenario)
    assert scenario.seconds < CALM_S
    assert ledger.summary["refused"] == ledger.summary["unknown"] == 0, ledger.summary
    assert _uids(quickstart) == before


@again
def test_by_restart(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, repeat: str) -> None:
    """A parameter that needs a restart under load: readers first, one at a time, then a switchover; nothing is lost."""
    old = quickstart.await_whole(READERS, timeout=180)
    size = 3 + int(repeat)
    before, storage = _uids(quickstart), _uids(quickstart, component="storage")
    seen: list[set[str]] = []
    readers: list[int] = []
    with (
        client.converse(scripts.CONNECT, quickstart.reader_url()) as connecting,
        Ledger(client=client, url=quickstart.url(), name=f"restart-{repeat}") as ledger,
    ):
        start = time.monotonic()
        _set(cluster, quickstart, work_mem="9MB", **{RESTARTED: size * 1024})

        def rolled() -> bool:
            seen.append(set(_uids(quickstart)))
            readers.append(quickstart.status()["readers"])
            return not set(before) & seen[-1] and quickstart.whole(READERS) is not None

        await_that("every instance pod is another one", rolled, timeout=240)
        scenario.figures["seconds_to_roll"] = round(time.monotonic() - start, 1)
        quickstart.await_condition("ParametersApplied", "True", timeout=60)
        assert _everywhere(client, quickstart, RESTARTED) == {f"{size}kB"}
        ledger.await_commits(50, timeout=30)
        told = json.loads(connecting.communicate("enough\n", timeout=30)[0])
    ledger.judge(scenario)
    assert scenario.seconds < SWITCHOVER_S
    scenario.figures |= {"reader_connections": told["opened"], "reader_errors": told["errors"]}
    gone = _order_of_going(list(before), seen)
    scenario.figures["writer_went_last"] = gone[-1] == old["writer"]
    assert gone[-1] == old["writer"], f"{old['writer']} was the writer, but they went in this order: {gone}"
    scenario.figures["fewest_readers"] = min(readers)
    assert min(readers) >= READERS - 1, "more than one reader was away at a time"
    assert not told["errors"], f"new connections to the readers failed: {told['errors']}"
    assert quickstart.status()["epoch"] == old["epoch"] + 1, "one switchover is enough"
    assert _uids(quickstart, component="storage") == storage


def test_misspelt(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """A misspelt name and an impossible value are told of by name, the others apply, and nothing restarts."""
    quickstart.await_whole(READERS, timeout=180)
    before, kept = _uids(quickstart), quickstart.raw()["spec"].get("parameters", {})
    kept.pop("work_mem", None)
    _set(cluster, quickstart, work_mem="7MB", wrok_mem="7MB", random_page_cost="cheap", **kept)
    told = quickstart.await_condition("ParametersApplied", "False", "ParameterRefused", timeout=60)
    scenario.figures["told"] = f"{told['reason']}: {told['message']}"
    for name in ("wrok_mem", "random_page_cost"):
        assert name in told["message"], told
    await_that("the good one applies", lambda: _everywhere(client, quickstart, "work_mem") == {"7MB"}, timeout=60)
    _set(cluster, quickstart, **kept)
    quickstart.await_condition("ParametersApplied", "True", timeout=60)
    await_that("the default is back", lambda: _everywhere(client, quickstart, "work_mem") == {"4MB"}, timeout=60)
    assert _uids(quickstart) == before
    quickstart.await_whole(READERS, timeout=60)


def _set(cluster: Kind, database: Database, **parameters: Any) -> None:
    patch = json.dumps([{"op": "add", "path": "/spec/parameters", "value": parameters}])
    cluster.kubectl("patch", "dbcluster", database.name, "--type=json", "--patch", patch)


def _everywhere(client: Client, database: Database, name: str) -> set[str]:
    addresses = [pod["status"]["podIP"] for pod in database.pods(component="instance")]
    return set(json.loads(client.python(scripts.SHOW, name, *map(database.url, addresses))))


def _uids(database: Database, component: str = "instance") -> dict[str, str]:
    return {p["metadata"]["name"]: p["metadata"]["uid"] for p in database.pods(component=component)}


def _order_of_going(names: list[str], seen: list[set[str]]) -> list[str]:
    """Give these pods in the order in which they were first missing."""
    return sorted(names, key=lambda name: next((n for n, pods in enumerate(seen) if name not in pods), len(seen)))
