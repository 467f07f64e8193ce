"""Storage nodes that ail without being dead: one that is slow, and one whose disk is full. No commit fails."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.conftest import READERS
from e2e.database import Database
from e2e.healing import HEALED_S, await_replaced, identities, is_whole_without, judge_without_failover
from e2e.kind import Kind
from e2e.process import await_that
from e2e.report import Scenario
from e2e.workload import Client, Ledger

SPARE_MB = 192  # what a disk has free before it is filled
WRITTEN_MB = 96  # log that is more than what a storage node has made room for
SLOW = """
for process in $(pgrep -f borealis-storage); do
  if grep -qz "^HOSTNAME=$1$" /proc/$process/environ; then pids="$pids $process"; fi
done
test -n "$pids"
(
  for turn in $(seq 400); do
    kill -STOP $pids && sleep 0.3 && kill -CONT $pids && sleep 0.03 || break
  done
  kill -CONT $pids
) >/dev/null 2>&1 &
"""
SMALL = """
used=$(du -sm "$1" | cut -f1)
mkdir -p /mnt/small
mount -t tmpfs -o size=$((used + $2))m tmpfs /mnt/small
cp -a "$1/." /mnt/small/
mount --bind /mnt/small "$1"
"""
LARGE = """
umount "$1"
umount /mnt/small
"""
FILL = 'dd if=/dev/zero of="$1/filler" bs=1M 2>/dev/null || df -m "$1"'
FREE = 'rm "$1/filler"'
LOAD = """
import psycopg, sys
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("create table if not exists filler (line text)")
    for _ in range(int(sys.argv[2])):
        connection.execute("insert into filler select repeat('x', 1000) from generate_series(1, 1000)")
    connection.execute("drop table filler")
"""


@pytest.mark.usefixtures("impatient")
def test_slow_storage_node(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """A storage node that runs for a tenth of the time, under load: it is named, and a new one takes its place."""
    old = quickstart.await_whole(READERS, timeout=180)
    pod = quickstart.storage_away_from_writer()
    victim = pod["metadata"]["name"]
    with Ledger(client=client, url=quickstart.url(), name="slow") as ledger:
        start = time.monotonic()
        cluster.on(pod["spec"]["nodeName"], SLOW, victim)
        told = quickstart.await_condition("StorageHealthy", "True", "SomeSlow", timeout=60)
        scenario.figures["seconds_to_be_named"] = round(time.monotonic() - start, 1)
        assert f"{victim} is slow" in told["message"], told
        await_replaced(scenario, quickstart, old, victim)
        ledger.await_commits(200, timeout=60)
    judge_without_failover(scenario, quickstart, ledger, old)


def test_full_disk(scenario: Scenario, cluster: Kind, client: Client, quickstart: Database) -> None:
    """The disk of a storage node runs full under load: it says so, and serves again once there is room."""
    quickstart.await_whole(READERS, timeout=180)
    pod = quickstart.storage_away_from_writer()
    victim, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    with _small_disk(cluster, quickstart, victim, node) as path:
        old = quickstart.await_whole(READERS, timeout=180)
        quickstart.be_patient("10s")  # and yet it is not replaced
        with Ledger(client=client, url=quickstart.url(), name="full") as ledger:
            scenario.figures["filled"] = cluster.on(node, FILL, path).split()[-3]
            client.python(LOAD, quickstart.url(), str(WRITTEN_MB))
            told = quickstart.await_condition("StorageHealthy", "False", "Degraded", timeout=60)
            assert f"{victim} is catching-up (no room for log" in told["message"], told  # it takes part in all else
            ledger.await_commits(100, timeout=60)
            cluster.on(node, FREE, path)
            start = time.monotonic()
            quickstart.await_condition("StorageHealthy", "True", timeout=HEALED_S)
            scenario.figures["seconds_to_healthy"] = round(time.monotonic() - start, 1)
            ledger.await_commits(100, timeout=60)
        judge_without_failover(scenario, quickstart, ledger, old)
        assert identities(quickstart.status()) == identities(old), "it was replaced"


@contextmanager
def _small_disk(cluster: Kind, database: Database, victim: str, node: str) -> Iterator[str]:
    """Have a storage node's disk on a small file system of its own; afterwards a new one is in its place.

    Its disk is copied while its pod cannot run: a storage node must never find less than it has acknowledged.
    """
    volume = cluster.kubectl("get", "pvc", victim, "-o", "jsonpath={.spec.volumeName}").strip()
    path = cluster.kubectl("get", "pv", volume, "-o", "jsonpath={.spec.hostPath.path}{.spec.local.path}").strip()
    cluster.kubectl("cordon", node)
    try:
        cluster.kubectl("delete", "pod", victim)
        cluster.on(node, SMALL, path, str(SPARE_MB))
    finally:
        cluster.kubectl("uncordon", node)
    try:
        yield path
    finally:
        database.be_patient("5m")
        cluster.kubectl("delete", "pvc", victim, "--wait=false")
        cluster.kubectl("delete", "pod", victim)
        await_that(
            "six of six without the small disk",
            lambda: is_whole_without(database.status(), victim),
            timeout=HEALED_S,
        )
        cluster.on(node, LARGE, path)
