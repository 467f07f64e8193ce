"""Damage that leaves the machines alone: bits flipped and a directory wiped under load; then a zone and one node more.

The first two cost no commit: four others are there. In the last one no write is acknowledged until the nodes return.
"""

import time

from e2e.conftest import READERS
from e2e.database import Database
from e2e.healing import HEALED_S, identities, judge_without_failover
from e2e.kind import Kind
from e2e.process import await_that
from e2e.release import Release
from e2e.report import Scenario
from e2e.workload import Client, Ledger

WRONG = 64  # bytes in a row

FLIP = """
import os, sys
folder, count = sys.argv[1], int(sys.argv[2])
for name in ("journal", "images"):
    files = sorted(os.scandir(os.path.join(folder, name)), key=lambda file: file.stat().st_size)
    at = 1 << 17 if name == "journal" else files[-1].stat().st_size // 2
    file = os.open(files[-1] if name == "images" else min(files, key=lambda file: file.name), os.O_RDWR)
    old = os.pread(file, count, at)
    assert len(old) == count, (name, len(old))
    os.pwrite(file, bytes(byte ^ 0x55 for byte in old), at)
    os.fsync(file)
    print(name, at)
"""
WIPE = 'rm -rf "$BOREALIS_DATA_DIR"/* && ls -A "$BOREALIS_DATA_DIR"'
VERIFY = 'borealis-storage verify "$BOREALIS_DATA_DIR"'
COUNT = """
import psycopg, sys
with psycopg.connect(sys.argv[1], connect_timeout=5) as connection:
    print(connection.execute("select sum(n_live_tup) >= 0, pg_is_in_recovery() from pg_stat_user_tables").fetchone())
"""


def test_flipped_bits(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """Bits of the log and of image 0 flipped on one storage node under load: both come back from the others."""
    old = quickstart.await_whole(READERS, timeout=180)
    victim = quickstart.storage_away_from_writer()["metadata"]["name"]
    with Ledger(client=client, url=quickstart.url(), name="flipped") as ledger:
        script = f"python3 -c '{FLIP}' \"$BOREALIS_DATA_DIR\" {WRONG}"
        scenario.figures["flipped"] = cluster.kubectl("exec", victim, "--", "sh", "-c", script).split()
        said = cluster.refused("exec", victim, "--", "sh", "-c", VERIFY)
        assert "damage" in said, said
        start = time.monotonic()
        cluster.kubectl("delete", "pod", victim, "--wait=false")  # it begins to read its disk when it starts
        await_that(f"{victim} is whole again", lambda: _verified(cluster, quickstart, victim), timeout=HEALED_S)
        scenario.figures["seconds_to_healthy"] = round(time.monotonic() - start, 1)
        ledger.await_commits(200, timeout=60)
    judge_without_failover(scenario, quickstart, ledger, old)
    assert identities(quickstart.status()) == identities(old), "it was replaced, not mended"


def test_directory_wiped(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """The directory of a storage node wiped under load, and its pod made again: a new member takes its place."""
    old = quickstart.await_whole(READERS, timeout=180)
    victim = quickstart.storage_away_from_writer()["metadata"]["name"]
    with Ledger(client=client, url=quickstart.url(), name="wiped") as ledger:
        left = cluster.kubectl("exec", victim, "--", "sh", "-c", WIPE).split()
        scenario.figures["left_of_the_directory"] = left
        start = time.monotonic()
        cluster.kubectl("delete", "pod", victim, "--wait=false")

        def healed() -> bool:
            status = quickstart.status()
            return status["storage"] == "6/6" and len(identities(status) - identities(old)) == 1

        await_that("six of six are good with a new one", healed, timeout=HEALED_S)
        scenario.figures["seconds_to_healthy"] = round(time.monotonic() - start, 1)
        ledger.await_commits(200, timeout=60)
    judge_without_failover(scenario, quickstart, ledger, old)


def test_zone_and_one_node_killed(
    scenario: Scenario, cluster: Kind, client: Client, quickstart: Database, release: Release
) -> None:
    """A zone and one more node killed: no write is acknowledged, a reader answers, and all goes on when they return."""
    quickstart.await_whole(READERS, timeout=180)
    writer = quickstart.writer()["metadata"]["name"]
    reader = next(p for p in quickstart.pods(component="instance") if p["metadata"]["name"] != writer)
    nodes = _zone_and_one(quickstart, reader["spec"]["nodeName"])
    addresses = cluster.addresses(nodes)
    scenario.figures["operator_moved_away_before"] = release.avoid(*nodes)
    with Ledger(client=client, url=quickstart.url(), name="outage") as ledger:
        for node in nodes:
            cluster.stop(node)
        try:
            told = quickstart.await_condition("StorageHealthy", "False", "NoWriteQuorum", timeout=60)
            assert "4 are needed: no commit is acknowledged" in told["message"], told
            acked = ledger.acked()
            url = quickstart.url(reader["status"]["podIP"])
            assert client.python(COUNT, url).strip() == "(True, True)"
            quickstart.await_condition("WriterAvailable", "False", timeout=60)  # its lease is over
            assert ledger.acked() == acked
        finally:
            cluster.start_all(addresses)
        start = time.monotonic()
        ledger.await_commits(200, timeout=180)
        scenario.figures["seconds_to_commits"] = round(time.monotonic() - start, 1)
    ledger.judge(scenario)
    assert scenario.lost == 0
    quickstart.await_whole(READERS, timeout=240)
    scenario.figures["seconds_to_whole"] = round(time.monotonic() - start, 1)


def _zone_and_one(database: Database, spared: str) -> list[str]:
    """Give the Kubernetes nodes of a zone, and one more with a storage node: not `spared`, rather not the writer's."""
    zones, busy = database.zones(), database.writer()["spec"]["nodeName"]
    held = {pod["spec"]["nodeName"] for pod in database.pods(component="storage")}
    gone = min(set(zones.values()) - {zones[spared]}, key=lambda zone: (zone == zones[busy], zone))
    one = min((n for n in held if zones[n] != gone and n != spared), key=lambda node: (node == busy, node))
    return [*(node for node, zone in zones.items() if zone == gone), one]


def _verified(cluster: Kind, database: Database, name: str) -> bool:
    """Say whether a storage node serves again, and its whole disk is sound."""
    if database.status()["storage"] != "6/6" or database.pod(name) is None:
        return False
    said = cluster.kubectl("exec", name, "--", "sh", "-c", f"{VERIFY} >&2 && echo sound", check=False)
    return said.strip() == "sound"
