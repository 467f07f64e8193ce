"""The simulator: a handful of schedules here (make sim runs thousands), and every mutant must be found."""

import pytest
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.testing import sim
from borealis_engine.core.testing.mutants import MUTANTS, Mutant
from borealis_engine.core.testing.violation import Violation
from borealis_engine.core.testing.world import run

WITHIN = 300  # seeds; most mutants fall in the first ten, D believed without the entry in one of 400


@pytest.mark.parametrize("first", [0, 10_000])
def test_some_schedules_keep_the_rules(first: int) -> None:
    totals = sum((run(seed) for seed in range(first + 1, first + 25)), run(first))
    assert totals.elections > 0
    assert totals.truncations > 0
    assert totals.crashes > 0
    assert totals.acked_bytes > 0
    assert totals.fed_bytes > 0
    assert totals.committed > 20


def test_a_seed_is_a_schedule() -> None:
    assert run(7) == run(7)
    assert run(7) != run(8)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_found(mutant: Mutant) -> None:
    with mutant.alive(), pytest.raises((Violation, SafetyViolated)):
        run_all(range(WITHIN))


def run_all(seeds: range) -> None:
    for seed in seeds:
        run(seed)


def test_mutants_leave_nothing_behind() -> None:
    for mutant in MUTANTS:
        before = [owner.__dict__[name] for owner, name, _ in mutant.patches]
        with mutant.alive():
            pass
        assert [owner.__dict__[name] for owner, name, _ in mutant.patches] == before


def test_the_command_reports_and_judges(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.main(["--seeds", "20", "--jobs", "1"]) == 0
    line = capsys.readouterr().out
    assert all(f"{name}=" in line for name in ("elections", "truncations", "crashes", "acked_bytes"))
