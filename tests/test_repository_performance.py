"""The performance page says what the results say; and the arithmetic of the benchmarks, on figures made up here."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from benchmarks import (
    bulk,
    failover,
    gray,
    machine,
    members,
    pgbench,
    repair,
    results,
    settings,
    stages,
    sustained,
    tpcb,
    usage,
)  # fmt: skip
from benchmarks.members import Member, Standing
from benchmarks.pgbench import Measured
from benchmarks.processes import BenchmarkFailed
from benchmarks.repair import Loaded, Repair, Return, Slice
from benchmarks.sustained import Turn
from benchmarks.tpcb import Sample

WANTED = (
    "tpcb.c1.vs_any4", "tpcb.c16.vs_any4", "tpcb.c1.vs_fsync", "tpcb.c16.vs_fsync", "failover.sigkill.median_s",
    "failover.sigkill.max_s", "reader.ready_s", "lag.p50_ms", "lag.p99_ms", "machine.cores", "machine.fdatasync.p50_us",
    "tpcb.c1.borealis.tps", "tpcb.c16.any4.latency_ms",
)  # fmt: skip
REPORT = """\
pgbench (15.1)
number of transactions actually processed: 1234
number of failed transactions: 0 (0.000%)
latency average = 2.431 ms
initial connection time = 9.018 ms
tps = 411.279845 (without initial connection time)
"""


def test_the_page_is_made_from_the_results() -> None:
    page = results.PAGE.read_text()
    assert results.render_page(page, results.read()) == page


def test_another_figure_makes_another_page() -> None:
    page, found = results.PAGE.read_text(), dict(results.read())
    found["lag.p50_ms"] = 98765.0
    assert "98765" in results.render_page(page, found)


def test_the_results_are_one_flat_object_with_what_was_promised() -> None:
    found = results.read()
    assert [key for key in WANTED if key not in found] == []
    assert all(isinstance(value, str | int | float) for value in found.values())


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="begin results"):
        results.render_page("# Performance\n", results.read())


def test_the_median_is_that_of_the_ratios_and_not_of_the_figures() -> None:
    slow_then_fast = [10.0, 100.0, 1000.0]
    assert tpcb.ratio([20.0, 150.0, 3000.0], slow_then_fast) == 2.0


def test_each_round_begins_with_another_configuration() -> None:
    assert [tpcb.order("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_rounds_become_ratios_and_medians() -> None:
    def rates(*each: float) -> list[Sample]:
        return [Sample(measured=Measured(tps=tps, latency_ms=1000 / tps, transactions=1)) for tps in each]

    summary = tpcb.summarise({1: {"borealis": rates(30, 60), "any4": rates(20, 30), "fsync": rates(60, 60)}})
    assert summary["tpcb.c1.vs_any4"] == 1.75
    assert (summary["tpcb.c1.vs_any4.min"], summary["tpcb.c1.vs_any4.max"]) == (1.5, 2.0)
    assert summary["tpcb.c1.vs_fsync"] == 0.75
    assert summary["tpcb.c1.borealis.tps"] == 45


def samples(used: dict[str, float], *latencies: float) -> list[Sample]:
    measured = Measured(tps=1, latency_ms=1, transactions=len(latencies), latencies=latencies)
    return [Sample(measured=measured, used=used)]


def test_latencies_are_pooled_and_their_ratio_is_told() -> None:
    found = {16: {"borealis": samples({}, 1, 2, 3, 9), "any4": samples({}, 1, 1, 1, 3)}, 64: {"any4": samples({}, 1)}}
    told = tpcb.latencies(found)
    assert (told["latency.c16.borealis.p50_ms"], told["latency.c16.borealis.p999_ms"]) == (3, 9)
    assert told["latency.c16.p99_ratio"] == 3
    assert not any("c64" in key for key in told)


def test_processor_time_is_told_for_a_thousand_commits() -> None:
    told = tpcb.processor({1: {"borealis": samples({"postgres": 0.5, "log writer": 0.25}, *[1.0] * 500)}})
    assert told == {
        "cpu.c1.borealis.postgres_s": 1.0, "cpu.c1.borealis.log_writer_s": 0.5, "cpu.c1.borealis.all_s": 1.5,
    }  # fmt: skip


def test_pgbenchs_log_is_read() -> None:
    assert pgbench.parse_log(["0 1 2431 0 1700 5\n1 1 100 0 1700 6\n", "2 1 7 0 1700 7\n"]) == (2.431, 0.1, 0.007)
    with pytest.raises(BenchmarkFailed):
        pgbench.percentile([], 0.99)


@pytest.mark.parametrize(
    ("command", "group"),
    [
        ("/v/bin/python /v/bin/borealis-storage", "storage nodes"),
        ("/v/bin/python -I -S /x/shim.py borealis-storage", ""),
        ("/v/bin/python /v/bin/borealis-agent", "log writer"),
        ("postgres: bench-instance-0: walsender borealis [local] streaming", "walsenders"),
        ("postgres: bench app 127.0.0.1(5) COMMIT", "postgres"),
        ("/usr/lib/postgresql/15/bin/postgres -D /d", "postgres"),
        ("/usr/lib/postgresql/15/bin/pg_receivewal --slot copy0", "receivers"),
        ("pgbench --client=4", ""),
        ("/v/bin/python /v/bin/borealis-operator", ""),
    ],
)
def test_processes_are_told_apart(command: str, group: str) -> None:
    assert usage.group(command) == group


def test_the_time_of_a_backend_that_ended_is_its_postmasters() -> None:
    stat = "7 (a) b) S 3 " + " ".join(["0"] * 9) + " 100 50 30 20 0"
    process = usage.parse(7, stat, "postgres -D x")
    assert (process.pid, process.parent) == (7, 3)
    assert usage.totals([process])["postgres"] == pytest.approx(200 * usage.TICK_S)
    agent = usage.parse(8, stat, "borealis-agent")
    assert usage.totals([agent])["log writer"] == pytest.approx(150 * usage.TICK_S)


METRICS = """\
borealis_storage_state{state="catching-up"} 0.0
borealis_storage_state{state="current"} 1.0
borealis_storage_flush_lsn 1.6777216e+07
borealis_storage_durable_lsn 12.0
"""


def test_a_members_standing_is_read_from_its_metrics() -> None:
    assert members.parse(METRICS) == Standing(current=True, flush=1 << 24, durable=12)
    assert not members.parse(METRICS.replace("} 1.0", "} 0.0")).current


@pytest.fixture
def sleeper() -> Iterator[Member]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield Member(name="m", pid=process.pid, address="", node="")
    process.kill()
    process.communicate()


def state(member: Member) -> str:
    return Path(f"/proc/{member.pid}/stat").read_text().rpartition(")")[2].split()[0]


def await_state(member: Member, *, stopped: bool) -> None:
    until = time.monotonic() + 30
    while (state(member) == "T") is not stopped:
        assert time.monotonic() < until, state(member)
        time.sleep(0.001)


def held_up_and_failed(ail: Callable[[Sequence[Member]], AbstractContextManager[None]], member: Member) -> None:
    with ail([member]):
        await_state(member, stopped=True)
        raise BenchmarkFailed("meanwhile")


@pytest.mark.parametrize("ail", [members.frozen, members.delayed])
def test_a_member_that_was_held_up_goes_on_whatever_happens(
    sleeper: Member, ail: Callable[[Sequence[Member]], AbstractContextManager[None]]
) -> None:
    with pytest.raises(BenchmarkFailed):
        held_up_and_failed(ail, sleeper)
    await_state(sleeper, stopped=False)


def test_ailing_rounds_become_ratios_to_the_healthy_ones() -> None:
    rounds = {"healthy": [2.0, 4.0], "delayed": [3.0, 4.0], "frozen": [2.0, 6.0]}
    told = gray.summarise({**rounds, **{f"{case}.p50": [1.0, 1.0] for case in rounds}})
    assert told["gray.commit_p99_ratio"] == 1.25
    assert told["gray.frozen_p99_ratio"] == 1.25
    assert told["gray.healthy.p99_ms"] == 3


def test_a_repair_becomes_rates_and_ratios() -> None:
    idle = Return(megabytes=100, seconds=2, away_s=3, answered_at=1)
    loaded = Return(megabytes=25, seconds=2.5, away_s=4, answered_at=1)
    told = repair.summarise(
        Repair(
            idle=[idle] * 3,
            copied_mb_s=[200, 50, 100],
            loaded=[Loaded(back=loaded, healthy_ms=4, starting_ms=20, during_ms=during) for during in (8, 4, 12)],
        )
    )
    assert (told["repair.vs_copy"], told["repair.mb_s"], told["repair.commit_p99_ratio"]) == (0.5, 50, 2)
    assert (told["repair.vs_copy.min"], told["repair.vs_copy.max"], told["repair.copy_mb_s"]) == (0.25, 1, 100)
    assert (told["repair.loaded.mb_s"], told["repair.until_current_s"]) == (10, 3)
    assert (told["repair.commit_p99_ratio.max"], told["repair.start_p99_ratio"]) == (3, 5)


def test_commits_of_a_members_start_are_told_apart_from_those_of_its_repair() -> None:
    slices = [Slice(began=began, taken=(began,) * 3) for began in (10.0, 11.0, 12.0, 13.0)]
    starting, during = repair.split(slices, 11.5)
    assert (repair.p99(starting), repair.p99(during)) == (11, 13)
    assert [each.began for each in during] == [12, 13]
    assert repair.split(slices[:1], 10.5) == (slices[:1], slices[:1])  # nothing began afterwards


def test_as_much_journal_is_copied_as_was_missing(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.log").write_bytes(bytes(100))
        os.utime(tmp_path / f"{number}.log", (number, number))
    assert [path.name for path in repair.newest(tmp_path, 150)] == ["4.log", "3.log"]
    with pytest.raises(BenchmarkFailed):
        repair.newest(tmp_path / "none", 1)


def test_a_copy_is_compared_round_by_round() -> None:
    told = bulk.summarise({"borealis": [50.0, 40.0], "any4": [100.0, 50.0]})
    assert (told["copy.vs_any4"], told["copy.vs_any4.min"], told["copy.vs_any4.max"]) == (0.65, 0.5, 0.8)


def turn(tps: float, transactions: int, wal_bytes: int, longest_ms: float) -> Turn:
    return Turn(tps=tps, transactions=transactions, wal_bytes=wal_bytes, longest_ms=longest_ms)


def test_turns_of_the_long_run_become_ratios_and_log_a_transaction() -> None:
    ours, theirs = [turn(120, 100, 60_000, 80), turn(130, 300, 140_000, 70)], [turn(100, 10, 50_000, 90)] * 2
    told = sustained.summarise({"borealis": ours, "any4": theirs, "any4tls": [turn(60, 5, 50_000, 300)] * 2})
    assert (told["sustained.c16.vs_any4"], told["sustained.c16.vs_any4.max"]) == (1.25, 1.3)
    assert (told["sustained.c16.vs_any4tls.min"], told["sustained.c16.borealis.tps"]) == (2, 125)
    assert (told["sustained.c16.wal_bytes"], told["sustained.c16.max_ms"]) == (500, 80)
    assert (told["sustained.c16.any4.wal_bytes"], told["sustained.c16.any4tls.max_ms"]) == (5000, 300)


def test_every_part_that_was_measured_is_on_the_page() -> None:
    found = dict(results.read())
    spread = {"": 0.8765, ".min": 0.5, ".max": 0.9}
    for number, script in enumerate(("tpcb", "simple")):
        found |= {f"{script}.c64.vs_any4{what}": value + number for what, value in spread.items()}
        found |= {f"{script}.c64.borealis.{what}": 640 + number for what in ("tps", "latency_ms")}
    found |= {"latency.c1.borealis.p999_ms": 77.125, "latency.c1.borealis.p50_ms": 1, "cpu.c1.any4.all_s": 1.625}
    found |= {"cpu.c1.any4.receivers_s": 0.375, "copy.borealis.mb_s": 55.5, "gray.commit_p99_ratio": 1.0625}
    found |= sustained.summarise({"borealis": [turn(1431, 1, 532, 73)], "any4tls": [turn(1000, 1, 9413, 294)]})
    page = results.render_page(results.PAGE.read_text(), found)
    for figure in (
        "0.8765",
        "1.8765",
        "77.125",
        "1.625",
        "0.375",
        "55.5",
        "1.0625",
        "641",
        "532",
        "9413",
        "294",
        "1.431",
    ):
        assert figure in page, figure


def test_a_report_of_pgbench_is_read() -> None:
    assert pgbench.parse(REPORT) == Measured(tps=411.279845, latency_ms=2.431, transactions=1234)


@pytest.mark.parametrize("said", [REPORT.replace("failed transactions: 0", "failed transactions: 7"), "nothing"])
def test_a_report_that_is_no_measurement_is_refused(said: str) -> None:
    with pytest.raises(BenchmarkFailed):
        pgbench.parse(said)


@pytest.mark.parametrize(
    ("since", "until", "longest"),
    [(1.0, 9.0, 3.0), (2.1, 9.0, 3.0), (5.1, 9.0, 1.0), (20.0, 30.0, 0.0)],
    ids=["all", "the gap that it lies in", "behind it", "after the end"],
)
def test_a_gap_is_the_time_between_commits_around_a_kill(since: float, until: float, longest: float) -> None:
    assert failover.longest([1.0, 2.0, 5.0, 6.0], since, until) == longest


def test_settings_that_differ_are_found_and_an_unknown_reason_is_said() -> None:
    found = settings.differences({"a": {"fsync": "on", "x": "1", "y": "1"}, "b": {"fsync": "off", "x": "2", "y": "1"}})
    assert set(found) == {"settings.fsync", "settings.x"}
    assert found["settings.x"].endswith("no reason is known")


def test_a_busy_machine_is_told_of() -> None:
    said: list[str] = []
    machine.warn_if_busy(0.02, said.append)
    assert said == []
    machine.warn_if_busy(0.5, said.append)
    assert "50%" in said[0]


def test_a_commit_is_followed_to_its_fourth_member() -> None:
    own = {"read": 0, "offered": 10, "sent": 60, "durable": 900, "released": 910}
    own |= {"heard": 500, **{f"heard{n}": 100 * n + 400 for n in range(1, 7)}}
    member = {"write": 130}
    copies = [{**member, "synced": 200 + n, "acked": 300 + n} for n in range(6)]
    path = stages.follow(own, copies)
    assert path is not None
    assert (path["synced"], path["acked"], path["heard"]) == (203, 303, 800)
    assert stages.follow(own, copies[:3]) is None
