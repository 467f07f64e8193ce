"""Real PostgreSQL, real storage nodes, the real operator: killed in every role, stopped and started, and lost=0."""

import time

import pytest
from borealis_local.trial import Local

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_the_writers_postgres_is_killed(healthy: Local) -> None:
    before = healthy.status()
    with healthy.ledger() as ledger:
        killed = time.time()
        healthy.kill_postgres(before["writer"])
        ledger.await_commit(since=killed)
        result = ledger.audit()
    after = healthy.status()
    assert result["acked"] > 0
    assert (result["lost"], result["doubled"], result["risen"]) == (0, 0, 0)
    assert after["writer"] != before["writer"]
    assert after["epoch"] > before["epoch"]


def test_a_readers_postgres_is_killed(healthy: Local) -> None:
    writer = healthy.status()["writer"]
    reader = next(pod for pod in healthy.names("pods") if "-instance-" in pod and pod != writer)
    with healthy.ledger() as ledger:
        healthy.kill_postgres(reader)
        healthy.until(lambda: not healthy.healthy(), "nobody noticed that a reader died")
        healthy.until(healthy.healthy, "the reader did not come back")
        ledger.await_commit(since=time.time())
        result = ledger.audit()
    assert result["lost"] == result["unknown_present"] == result["unknown_absent"] == 0
    assert healthy.status()["writer"] == writer


def test_a_zone_loses_power(healthy: Local) -> None:
    with healthy.ledger() as ledger:
        off = time.time()
        healthy.borealis("local", "kill", "zone", "b", "--seconds", "5")
        ledger.await_commit(since=off + 1)
        healthy.until(healthy.healthy, "the zone did not come back")
        result = ledger.audit()
    assert result["acked"] > 0
    assert (result["lost"], result["doubled"], result["risen"]) == (0, 0, 0)


def test_everything_is_stopped_and_started(healthy: Local) -> None:
    with healthy.ledger() as ledger:
        healthy.borealis("local", "down")
        up = time.time()
        healthy.borealis("local", "up")
        ledger.await_commit(since=up)
        result = ledger.audit()
    assert result["acked"] > 0
    assert (result["lost"], result["doubled"], result["risen"]) == (0, 0, 0)


def test_with_no_reader_left_a_new_instance_becomes_the_writer(healthy: Local) -> None:
    healthy.patch({"readers": 0})
    healthy.until(lambda: healthy.healthy(readers=0), "scale-in did not end")
    writer = healthy.status()["writer"]
    with healthy.ledger() as ledger:
        healthy.borealis("local", "delete", "pod", writer)
        healthy.until(lambda: healthy.status().get("writer") not in ("", None, writer), "nobody took over")
        ledger.await_commit(since=time.time())
        result = ledger.audit()
    assert (result["lost"], result["doubled"], result["risen"]) == (0, 0, 0)
    healthy.patch({"readers": 2})
    healthy.until(healthy.healthy, "scale-out did not end")


def test_deletion_leaves_nothing(healthy: Local) -> None:
    healthy.borealis("local", "delete", "dbcluster", "quickstart")
    for kind in ("pods", "pvc", "services", "endpointslices", "secrets", "configmaps", "dbinstances"):
        healthy.until(
            lambda kind=kind: not any("quickstart" in name for name in healthy.names(kind)),
            f"{kind} are left",
        )
