"""The simulator: some schedules (make sim runs thousands), every mutant caught, failures made smaller, the commands."""

import pytest
from borealis_engine.core.testing import mutation, sim
from borealis_engine.core.testing.attempt import attempt, shrink
from borealis_engine.core.testing.mutant import Mutant
from borealis_engine.core.testing.mutants import MUTANTS
from borealis_engine.core.testing.plan import Plan, numbers, ranges
from borealis_engine.core.testing.scripts import SCRIPTS
from borealis_engine.core.testing.world import Totals

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
CAUGHT_BY = {  # if the core or the simulator changed what a seed is: `make mutants` names others
    "an ack before the bytes are durable": Plan(seed=0),
    "a promise that is not persisted": Plan(seed=0),
    "one epoch promised to two": Plan(seed=6),
    "three promises elect": Plan(seed=0),
    "no truncation": Plan(seed=3),
    "an append that is not contiguous": Plan(seed=3),
    "the short way open to anybody": Plan(seed=46),
    "the short way for an append that is not contiguous": Plan(seed=13),
    "D on three": Plan(seed=0),
    "acks from before the entry move D": Plan(seed=0),
    "D believed without the entry": Plan(seed=0, script="other image"),
    "a log that ends inside a record": Plan(seed=1),
    "readers above D": Plan(seed=0),
    "promises within the lease": Plan(seed=0),
    "the generation of a message ignored": Plan(seed=0, script="old generation"),
    "messages of an older reign taken": Plan(seed=0, script="late begin"),
    "a resignation that names another owner": Plan(seed=13),
    "a promise of an earlier round": Plan(seed=1, script="late promise"),
    "a heartbeat's ack before the bytes are durable": Plan(seed=8),
    "a promise before it is durable": Plan(seed=0, script="torn entry"),
    "Begun before the entry is durable": Plan(seed=1),
    "D sent before the quorum": Plan(seed=0),
    "a member counted that has not caught up": Plan(seed=1),
    "an entry and its truncation apart": Plan(seed=3, script="torn entry"),
    "feeds that go on over a truncation": Plan(seed=3),
    "a common point by the own history": Plan(seed=11),
    "the least advanced log carried on": Plan(seed=0),
    "the longest log carried on, of whatever epoch": Plan(seed=3, script="longer log"),
    "the short way open after something else came": Plan(seed=1, script="late append"),
    "a lease from the receipt of answers": Plan(seed=0, script="late answers"),
    "a lease longer than the nodes'": Plan(seed=1, script="late answers"),
    "a lease that a restart forgets": Plan(seed=0, script="restart"),
    "an epoch solicited twice": Plan(seed=1, script="late promise"),
    "D by the old six alone while joint": Plan(seed=3),
    "D by the new six alone while joint": Plan(seed=3),
    "elected by the old six alone while joint": Plan(seed=3),
    "elected by the new six alone while joint": Plan(seed=3),
    "a joiner counted before it has caught up": Plan(seed=17),
    "a joiner begins before its elders know of it": Plan(seed=17),
    "a joiner current with any log": Plan(seed=0, script="late joiner"),
    "a joiner current before its log is durable": Plan(seed=0, script="slow joiner"),
    "a member before it has caught up": Plan(seed=1),
    "a member that is smaller without its image": Plan(seed=0, script="unreadable images"),
    "a candidate deaf to the D that members know": Plan(seed=0, script="forgotten log"),
    "a damaged promise guessed": Plan(seed=0, script="damaged promises"),
    "a disk of nobody taken for an empty one": Plan(seed=0, script="damaged identities"),
    "the first configuration for a damaged one": Plan(seed=0, script="damaged configurations"),
    "damaged log given to others": Plan(seed=0, script="damaged log"),
    "a damaged member that gives nothing": Plan(seed=0, script="log damaged everywhere"),
    "a configuration adopted by its number alone": Plan(seed=0, script="later generation"),
    "effects carried out in the middle of older ones": Plan(seed=139),
    "the generation of an append ignored": Plan(seed=3),
    "a configuration that a restart forgets": Plan(seed=1),
}
OLD_ACKS = BY_NAME["acks from before the entry move D"]
FAILS = 46  # a seed with many faults that catches it, few of which are needed
EVERYWHERE = BY_NAME["D on three"]  # caught by nearly every seed


@pytest.mark.parametrize("first", [0, 10_000])
def test_some_schedules_keep_the_rules(first: int) -> None:
    outcomes = [attempt(Plan(seed=seed)) for seed in range(first, first + 15)]
    assert [o for o in outcomes if o.failure] == []
    totals = sum((o.totals for o in outcomes), Totals())
    assert all(getattr(totals, name) > 0 for name in (*sim.SHOWN, "fed_bytes"))
    assert totals.committed > 12


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("seed", range(mutation.SCRIPTED))
def test_the_scripts_keep_the_rules(script: str, seed: int) -> None:
    assert not attempt(Plan(seed=seed, script=script)).failure


def test_every_mutant_is_in_the_table() -> None:
    assert list(CAUGHT_BY) == [mutant.name for mutant in MUTANTS]


@pytest.mark.parametrize("name", CAUGHT_BY)
def test_a_mutant_is_caught(name: str) -> None:
    with BY_NAME[name].alive():
        assert attempt(CAUGHT_BY[name]).failure


def test_mutants_leave_nothing_behind() -> None:
    for mutant in MUTANTS:
        before = [owner.__dict__[name] for owner, name, _ in mutant.patches]
        with mutant.alive():
            assert [owner.__dict__[name] for owner, name, _ in mutant.patches] != before
        assert [owner.__dict__[name] for owner, name, _ in mutant.patches] == before


def test_a_seed_is_a_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    traces = []
    for seed in (7, 7, 8):
        attempt(Plan(seed=seed), trace=True)
        traces.append(capsys.readouterr().out)
    assert traces[0] == traces[1] != traces[2]
    assert "elected" in traces[0]


# --- smaller schedules ------------------------------------------------------------------------------------------------


def test_faults_left_out_do_not_happen() -> None:
    whole = attempt(Plan(seed=1)).faults
    assert whole == tuple(range(1, len(whole) + 1))
    assert attempt(Plan(seed=1, without=frozenset({2, 3}))).faults == (1, *whole[3:])
    assert attempt(Plan(seed=1, until=0)).faults == ()


def test_a_failure_is_made_smaller() -> None:
    with OLD_ACKS.alive():
        failed = attempt(Plan(seed=FAILS))
        smaller = shrink(failed)
        assert smaller.rule == failed.rule == "Violation: D is on four disks"
        assert len(smaller.faults) <= len(failed.faults) // 2
        assert shrink(failed) == smaller == attempt(smaller.plan)
    assert not attempt(smaller.plan).failure


@pytest.mark.parametrize("text", ["1", "3-5,9", "1-2,4,6-11"])
def test_numbers_are_written_as_ranges(text: str) -> None:
    assert ranges(numbers(text)) == text


# --- the commands -----------------------------------------------------------------------------------------------------


def test_the_command_reports_and_judges(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.main(["--seeds", "20", "--jobs", "1"]) == 0
    line = capsys.readouterr().out
    assert all(f"{name}=" in line for name in (*sim.SHOWN, "failures"))


def test_the_command_shows_the_first_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with EVERYWHERE.alive():
        assert sim.main(["--seeds", "2", "--jobs", "1"]) == 1
    told = capsys.readouterr()
    assert "SEED=0: Violation: D is on four disks" in told.err
    assert "again with: make sim SEED=0" in told.out
    assert "failures=2" in told.out


def test_the_command_finds_a_smaller_one_and_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    with OLD_ACKS.alive():
        assert sim.main(["--seed", str(FAILS)]) == 1
        small = capsys.readouterr().out
        words = small.rsplit(f"make sim SEED={FAILS} ", 1)[1].split()
        options = [word for pair in words for word in f"--{pair}".replace("=", " ").lower().split()]
        assert sim.main(["--seed", str(FAILS), *options]) == 1
        assert capsys.readouterr().out == small
    assert sim.main(["--seed", str(FAILS), *options]) == 0


def test_mutants_are_counted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = Mutant(name="none at all", patches=())
    monkeypatch.setattr(mutation, "SCRIPTS", ["old generation"])
    monkeypatch.setattr(mutation, "MUTANTS", (EVERYWHERE,))
    assert mutation.main(["--seeds", "3", "--jobs", "1"]) == 0
    assert "caught by    3 seeds, first 0     D on three; by script: old generation" in capsys.readouterr().out
    monkeypatch.setattr(mutation, "MUTANTS", (EVERYWHERE, harmless))
    assert mutation.main(["--seeds", "3", "--jobs", "1"]) == 1
    told = capsys.readouterr().out
    assert "NOT CAUGHT" in told
    assert "mutants: 1 of 2 caught" in told
