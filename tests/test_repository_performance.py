"""The performance page says what the results say; and the arithmetic of the benchmarks, on figures made up here."""

import pytest

from benchmarks import failover, machine, pgbench, results, settings, stages, tpcb
from benchmarks.pgbench import Measured
from benchmarks.processes import BenchmarkFailed

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
    def rates(*each: float) -> list[Measured]:
        return [Measured(tps=tps, latency_ms=1000 / tps, transactions=1) for tps in each]

    summary = tpcb.summarise({1: {"borealis": rates(30, 60), "any4": rates(20, 30), "fsync": rates(60, 60)}})
    assert summary["tpcb.c1.vs_any4"] == 1.75
    assert (summary["tpcb.c1.vs_any4.min"], summary["tpcb.c1.vs_any4.max"]) == (1.5, 2.0)
    assert summary["tpcb.c1.vs_fsync"] == 0.75
    assert summary["tpcb.c1.borealis.tps"] == 45


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
    member = {"arrived": 100, "append": 120, "write": 130, "written": 140}
    copies = [{**member, "synced": 200 + n, "acked": 300 + n} for n in range(6)]
    path = stages.follow(own, copies)
    assert path is not None
    assert (path["synced"], path["acked"], path["heard"]) == (203, 303, 800)
    assert stages.follow(own, copies[:3]) is None
