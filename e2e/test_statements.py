"""What one statement of an ordinary user may cost others: a commit's latency, never the service and never a commit.

Each statement has a database of its own, for what it wrote stays in the log of its volume.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from e2e import own, scripts
from e2e.database import Database
from e2e.kind import Kind
from e2e.process import await_that
from e2e.report import Scenario
from e2e.workload import Client, Ledger

RECORD_MB = 700
SMALL_MB, LARGE_MB = 400, 1600
CAUGHT_UP_S = 180
RESUMED_S = 120
PEAK = r"sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' /proc/1/status"
CANCELLED = ("53100", "57014", "57P01", "25006")  # disk full, cancelled, terminated, read-only


def test_large_record(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """One record of 700 MB in the log under load: readers go on to serve, and a failover after it loses nothing."""
    with own.database(cluster, quickstart, "large", readers=2) as database:
        old, readers = database.status(), _lives(database)
        with Ledger(client=client, url=database.url(), name="large", clients=2) as ledger:
            with _reading(scenario, client, database):
                taken = client.python(scripts.LARGE_RECORD, database.url(), timeout=240)
                scenario.figures["seconds_to_commit_behind_it"] = float(taken)
                start = time.monotonic()
                urls = [database.url(pod["status"]["podIP"]) for pod in database.pods(role="reader")]
                assert len(urls) == 2, "a reader is missing"
                for url in urls:
                    await_that("the row behind the record", lambda u=url: _count(client, u) == 1, timeout=CAUGHT_UP_S)
                scenario.figures["seconds_until_readers_have_it"] = round(time.monotonic() - start, 1)
                ledger.await_commits(50, timeout=60)
            assert _lives(database) == readers, "an instance was replaced"
            assert database.status()["epoch"] == old["epoch"], "there was a failover"
            peaks = [int(cluster.kubectl("exec", pod, "--", "sh", "-c", PEAK)) // 1024 for pod in readers]
            scenario.figures["agents_peak_mib"] = sorted(peaks)
            assert max(peaks) < RECORD_MB, "an agent held the whole record"
            killed = time.monotonic()
            cluster.kubectl("exec", "-i", old["writer"], "--", "python3", "-", stdin=scripts.KILL_POSTMASTER)
            await_that("a later epoch", lambda: database.status()["epoch"] > old["epoch"], timeout=120)
            ledger.await_commits(50, timeout=120)
            scenario.figures["seconds_of_failover"] = round(time.monotonic() - killed, 1)
        ledger.judge(scenario)
        assert scenario.lost == 0
        database.await_whole(2, timeout=240)


def test_volume_filled_by_a_transaction(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database
) -> None:
    """One transaction writes more than six small volumes hold: it is cancelled, readers serve on, enlarging mends."""
    with (
        own.small_volumes(cluster, SMALL_MB) as nodes,
        own.database(cluster, quickstart, "narrow", readers=1, className=own.SMALL, size=f"{SMALL_MB}Mi") as database,
    ):
        old = database.status()
        with (
            Ledger(client=client, url=database.url(), name="narrow", clients=2) as ledger,
            _reading(scenario, client, database),
        ):
            told = json.loads(client.python(scripts.FILL, database.url(), timeout=240))
            scenario.figures["fill"] = told
            assert told["state"] in CANCELLED, told
            states = {member["state"] for member in database.status()["members"]}
            assert states == {"current"}, database.status()["members"]
            scenario.figures["storage_space"] = database.condition("StorageSpace")["message"]
            own.enlarge(cluster, nodes, LARGE_MB)
            start = time.monotonic()
            ledger.await_commits(100, timeout=RESUMED_S)
            scenario.figures["seconds_until_writes_resume"] = round(time.monotonic() - start, 1)
        ledger.judge(scenario)
        assert scenario.lost == 0
        assert database.await_whole(1, timeout=120)["epoch"] == old["epoch"], "there was a failover"


@contextmanager
def _reading(scenario: Scenario, client: Client, database: Database) -> Iterator[None]:
    """Connect anew to the reader endpoint all the while; none of it may fail, and each answer is a reader's."""
    with client.converse(scripts.CONNECT, database.reader_url()) as watcher:
        yield
        told, _ = watcher.communicate("\n", timeout=30)
    seen = json.loads(told)
    scenario.figures |= {"reader_connections": seen["opened"], "reader_errors": seen["errors"]}
    assert seen["opened"], "nobody read meanwhile"
    assert not seen["errors"], seen


def _lives(database: Database) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in database.pods(component="instance")}


def _count(client: Client, url: str) -> int:
    return int(client.python(scripts.COUNT_BEHIND, url))
