"""The journal on a disk that tears, fills and fails: what `append` returned for is there, whatever happens."""

import random

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import Entered, Logged, Promised
from borealis_engine.core.messages import Reign
from borealis_engine.store.errors import DiskCorrupt, DiskFailed, LogUnknown
from borealis_engine.store.journal import Journal, Sizes
from borealis_engine.store.journal_file import JournalFile
from borealis_engine.store.recovery import create_journal, open_journal
from borealis_engine.store.testing import FakeDisk, PowerCut
from hypothesis import given, settings
from hypothesis import strategies as st

from .journal_model import START, Model, random_batch

MEMBER = "00112233aabbccdd"
SMALL = Sizes(file=8192, ahead=2048, step=1024)
ENTRY = Entered(history=(Reign(epoch=Epoch(1), start=START, image="ab" * 32),), end=START)


def fresh(disk: FakeDisk, sizes: Sizes = SMALL) -> Journal:
    create_journal(disk, member=MEMBER)
    return open_journal(disk, member=MEMBER, sizes=sizes)


def whole_log(journal: Journal, limit: int = 1 << 20) -> bytes:
    pieces, at = [], journal.state.start
    while at < journal.state.flush:
        pieces.append(journal.read(at, journal.state.flush, limit=limit))
        at = Lsn(at + len(pieces[-1]))
    return b"".join(pieces)


def work(journal: Journal, model: Model, chance: random.Random, batches: int) -> tuple[Model, Model]:
    """Append until done or the power fails; give what was acknowledged, and that with what was under way."""
    trying = model
    try:
        for _ in range(batches):
            records = random_batch(model.state, chance)
            trying = model.after(records)
            journal.append(records)
            model = trying
            while journal.wants_fill and chance.random() < 0.8:
                journal.fill()
    except PowerCut:
        return model, trying
    return model, model


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 120), min_size=1, max_size=6))
def test_what_append_returned_for_survives_any_crash(seed: int, cuts: list[int]) -> None:
    chance, disk, model = random.Random(seed), FakeDisk(), Model()
    journal = fresh(disk)
    for cut in cuts:
        disk.cut_after = disk.operations + cut
        acked, trying = work(journal, model, chance, 60)
        disk = disk.crash(chance)
        journal = open_journal(disk, member=MEMBER, sizes=SMALL)
        assert journal.state in (acked.state, trying.state)
        model = acked if journal.state == acked.state else trying
        assert whole_log(journal, chance.choice([197, 5000])) == model.log if model.log else True
    assert journal.state.flush == START + len(model.log) or not model.state.history


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 12))
def test_a_crash_while_opening_after_a_crash_loses_nothing(seed: int, cut: int) -> None:
    chance, disk = random.Random(seed), FakeDisk()
    journal = fresh(disk)
    disk.cut_after = disk.operations + 40
    acked, trying = work(journal, Model(), chance, 60)
    disk = disk.crash(chance)
    disk.cut_after = cut
    try:
        open_journal(disk, member=MEMBER, sizes=SMALL)
    except PowerCut:
        disk = disk.crash(chance)
    disk.cut_after = None
    assert open_journal(disk, member=MEMBER, sizes=SMALL).state in (acked.state, trying.state)


def test_reading_any_range_gives_the_bytes_written() -> None:
    chance, disk = random.Random(7), FakeDisk()
    journal = fresh(disk)
    model, _ = work(journal, Model(), chance, 150)
    for reader in (journal, open_journal(disk, member=MEMBER, sizes=SMALL)):
        for _ in range(200):
            start = chance.randrange(START, START + len(model.log))
            upto = chance.randint(start + 1, START + len(model.log))
            data = reader.read(Lsn(start), Lsn(upto), limit=chance.choice([10, 1000, 1 << 20]))
            assert data
            assert data == model.log[start - START : start - START + len(data)]
    assert len(disk.list("journal")) > 3


def test_log_that_is_not_held_is_unknown() -> None:
    journal = fresh(FakeDisk())
    with pytest.raises(LogUnknown):
        journal.read(START, Lsn(START + 1))
    journal.append([ENTRY, Logged(lsn=START, data=b"x" * 100)])
    for start in (START - 1, START + 100):
        with pytest.raises(LogUnknown):
            journal.read(Lsn(start), Lsn(start + 10))


def test_truncated_bytes_are_replaced_by_the_new_ones() -> None:
    disk = FakeDisk()
    journal = fresh(disk)
    journal.append([ENTRY, Logged(lsn=START, data=b"a" * 1000)])
    longer = (*ENTRY.history, Reign(epoch=Epoch(3), start=Lsn(START + 400)))
    journal.append([Entered(history=longer, end=Lsn(START + 400))])
    journal.append([Logged(lsn=Lsn(START + 400), data=b"b" * 300)])
    for reader in (journal, open_journal(disk, member=MEMBER)):
        assert whole_log(reader) == b"a" * 400 + b"b" * 300


def test_an_idle_journal_costs_what_is_filled_ahead_and_sealed_files_cost_nothing_more() -> None:
    disk = FakeDisk()
    journal = fresh(disk)
    journal.append([ENTRY])
    while journal.wants_fill:
        journal.fill()
    assert SMALL.ahead <= disk.used() <= SMALL.ahead + 2 * SMALL.step
    for number in range(20):
        journal.append([Logged(lsn=Lsn(START + number * 1000), data=b"x" * 1000)])
    assert journal.bytes_used == disk.used()
    assert disk.used() < 20 * 1000 + 6 * 1024 + SMALL.ahead


def test_the_size_may_be_asked_for_while_a_file_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, files = fresh(FakeDisk()), list[int]()
    journal.append([ENTRY])

    def interrupted(file: JournalFile) -> int:
        if not files:
            files.append(len(journal._files))
            journal.append([Logged(lsn=journal.state.flush, data=bytes(SMALL.file))])
        return int(file.__dict__["filled"])

    filled = property(interrupted, lambda file, size: file.__dict__.update(filled=size))
    monkeypatch.setattr(JournalFile, "filled", filled, raising=False)
    assert journal.bytes_used > 0
    assert len(journal._files) > files[0]


@pytest.mark.parametrize("fault", ["fail_syncs", "fail_writes", "full"])
def test_after_a_failure_everything_is_refused(fault: str) -> None:
    disk = FakeDisk()
    journal = fresh(disk)
    journal.append([Promised(epoch=Epoch(2), owner="a")])
    if fault == "full":
        disk.capacity = disk.used() + 10
    else:
        setattr(disk, fault, True)
    with pytest.raises(DiskFailed, match="disk full" if fault == "full" else "input/output"):
        journal.append([Promised(epoch=Epoch(3), owner="b")])
    disk.fail_syncs = disk.fail_writes = False
    disk.capacity = 1 << 30
    with pytest.raises(DiskFailed):
        journal.append([Promised(epoch=Epoch(3), owner="b")])
    assert journal.failed
    assert journal.state.promised == 2
    reopened = open_journal(disk.crash(random.Random(1)), member=MEMBER)
    assert reopened.state.promised in (2, 3)


def test_what_a_failed_sync_left_in_the_cache_is_durable_before_it_is_reported() -> None:
    """The batch looks written, and no later sync says that it is not: only writing it again makes it so."""
    disk = FakeDisk()
    journal = fresh(disk)
    disk.fail_syncs = True
    with pytest.raises(DiskFailed):
        journal.append([Promised(epoch=Epoch(3), owner="b")])
    disk.fail_syncs = False
    reported = open_journal(disk, member=MEMBER).state
    assert reported.promised == 3
    assert open_journal(disk.crash(random.Random(1)), member=MEMBER).state == reported


def test_a_failed_sync_of_the_filling_fails_the_journal() -> None:
    disk = FakeDisk()
    journal = fresh(disk)
    disk.fail_syncs = True
    with pytest.raises(DiskFailed):
        journal.fill()
    disk.fail_syncs = False
    with pytest.raises(DiskFailed):
        journal.append([Promised(epoch=Epoch(3), owner="b")])


def test_a_full_disk_ends_the_filling_and_costs_nothing() -> None:
    """What is filled already takes log; zeros follow when there is room again."""
    disk = FakeDisk()
    journal = fresh(disk)
    journal.append([ENTRY])
    assert journal.fill()
    ahead, disk.capacity = journal.ahead, disk.used() + SMALL.step // 2
    assert not journal.fill()
    assert journal.ahead == ahead
    journal.append([Logged(lsn=START, data=b"x")])
    disk.capacity = 1 << 30
    assert journal.fill()
    assert open_journal(disk, member=MEMBER, sizes=SMALL).state == journal.state


@pytest.mark.parametrize("file", [0, 1, -1])
@pytest.mark.parametrize("where", [0.02, 0.3, 0.6])
def test_damage_before_the_last_batch_is_told_and_never_cut(file: int, where: float) -> None:
    chance, disk = random.Random(3), FakeDisk()
    journal = fresh(disk)
    model, _ = work(journal, Model(), chance, 150)
    end = journal._last.end
    journal.append([Logged(lsn=model.state.flush, data=b"z" * 50)])
    name = f"journal/{disk.list('journal')[file]}"
    length = end if file == -1 else disk.open(name).size()
    disk.damage(name, int(length * where))
    with pytest.raises(DiskCorrupt):
        open_journal(disk, member=MEMBER, sizes=SMALL)


def test_damage_found_while_reading_is_told() -> None:
    disk = FakeDisk()
    journal = fresh(disk)
    journal.append([ENTRY, Logged(lsn=START, data=b"x" * 3000)])
    disk.damage(f"journal/{disk.list('journal')[0]}", journal._last.end - 100)
    with pytest.raises(DiskCorrupt):
        journal.read(START, Lsn(START + 3000))


def test_a_missing_file_is_told() -> None:
    disk = FakeDisk()
    work(fresh(disk), Model(), random.Random(5), 150)
    disk.remove(f"journal/{disk.list('journal')[1]}")
    with pytest.raises(DiskCorrupt, match="not the one that belongs here"):
        open_journal(disk, member=MEMBER)


def test_a_payload_that_looks_like_a_later_frame_is_no_damage() -> None:
    """A torn batch that holds a copy of another journal's later frames is still just a torn batch."""
    other = FakeDisk()
    work(fresh(other, Sizes()), Model(), random.Random(9), 40)
    copied = other.open(f"journal/{other.list('journal')[0]}").read(100_000, 0)
    disk = FakeDisk()
    journal = fresh(disk, Sizes())
    journal.append([ENTRY])
    end = journal._last.end
    journal.append([Logged(lsn=START, data=copied)])
    disk.damage(f"journal/{disk.list('journal')[0]}", end + 40)
    assert open_journal(disk, member=MEMBER).state.flush == START


def test_without_a_descriptor_for_the_next_file_the_last_one_grows() -> None:
    disk = FakeDisk()
    journal = fresh(disk)
    journal.append([Promised(epoch=Epoch(1), owner="w"), ENTRY])
    disk.exhausted = True
    for number in range(20):
        journal.append([Logged(lsn=Lsn(START + 1000 * number), data=bytes([number]) * 1000)])
    assert (len(journal.files), journal.failed) == (1, "")
    assert "too many open files" in journal.strained
    disk.exhausted = False
    journal.append([Logged(lsn=Lsn(START + 20_000), data=b"z" * 1000)])
    assert (len(journal.files), journal.strained) == (2, "")
    wanted = b"".join(bytes([number]) * 1000 for number in range(20)) + b"z" * 1000
    assert whole_log(journal) == wanted
    assert whole_log(open_journal(disk.crash(random.Random(1)), member=MEMBER, sizes=SMALL)) == wanted
