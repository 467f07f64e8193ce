"""What is found on a disk that is only looked at."""

import contextlib
import random
from dataclasses import replace

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import Entered, Logged
from borealis_engine.core.messages import Reign
from borealis_engine.store.errors import DiskCorrupt, DiskUnreadable
from borealis_engine.store.frames import FILE_HEADER, parse_header, scan
from borealis_engine.store.inspection import Report, faults, inspect_disk
from borealis_engine.store.member import open_store
from borealis_engine.store.recovery import open_journal
from borealis_engine.store.testing import FakeDisk, FakeFile, PowerCut
from hypothesis import given, settings
from hypothesis import strategies as st

from .journal_model import START, random_batch
from .members import CLUSTER, MEMBER, SMALL, VOLUME, filled


def look(disk: FakeDisk) -> Report:
    """Inspect a disk and see that nothing was done to it."""
    before = disk.operations
    report = inspect_disk(disk, digests=True)
    assert disk.operations == before
    return report


def names(disk: FakeDisk) -> list[str]:
    return [f"journal/{name}" for name in disk.list("journal")]


def broken_frame(disk: FakeDisk, name: str, offset: int) -> tuple[int, Lsn]:
    """Give where the frame that covers `offset` begins, and the end of the log of the whole batches before it."""
    file = disk.open(name)
    header = parse_header(file.read(FILE_HEADER, 0))
    for frame in scan(file.read, header.nonce, FILE_HEADER, file.size()):
        if frame.offset <= offset < frame.end:
            return frame.offset, frame.lsn
    raise AssertionError("no frame is there")


def refused(disk: FakeDisk) -> bool:
    """Tell whether the node would refuse the journal; it may change the disk."""
    try:
        open_journal(disk, member=MEMBER, sizes=SMALL).close()
    except DiskCorrupt:
        return True
    return False


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), batches=st.integers(0, 120))
def test_a_healthy_member_is_told_as_it_is(seed: int, batches: int) -> None:
    disk = FakeDisk()
    store = filled(disk, seed, batches)
    state, report = store.journal.state, look(disk)
    assert report.state == state
    assert report.volume == VOLUME
    assert (report.identity.member, report.identity.cluster_uid) == (MEMBER, CLUSTER)
    assert [file.name for file in report.files] == names(disk)
    assert sum(file.batches for file in report.files) == store.journal._batch
    assert sum(file.size for file in report.files) == store.journal.bytes_used
    assert all(file.end + file.ahead == file.size for file in report.files)
    logs = [file.log for file in report.files if file.log]
    assert [log[0] for log in logs] + [state.flush] == [state.start, *(log[1] for log in logs)] or not logs
    assert report.findings == []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 200))
def test_whatever_a_crash_leaves_is_no_damage(seed: int, cut: int) -> None:
    disk, chance = FakeDisk(), random.Random(seed)
    journal = filled(disk, seed, 10).journal
    for _ in range(cut):
        journal.append(random_batch(journal.state, chance))
    disk.cut_after = disk.operations + chance.randint(0, 2)
    with contextlib.suppress(PowerCut):
        while True:
            journal.append(random_batch(journal.state, chance))
    disk = disk.crash(chance)
    report = look(disk)
    assert not report.damaged
    assert report.state == open_journal(disk, member=MEMBER, sizes=SMALL).state


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 20), flips=st.lists(st.tuples(st.integers(0), st.integers(0)), min_size=1, max_size=3))
def test_damage_of_the_journal_is_found_where_the_node_refuses_it(seed: int, flips: list[tuple[int, int]]) -> None:
    disk = FakeDisk()
    filled(disk, seed, 40)
    before = look(disk).state
    for file, offset in flips:
        name = names(disk)[file % len(names(disk))]
        disk.damage(name, offset % disk.open(name).size())
    report = look(disk)
    assert report.damaged == refused(disk)
    assert report.state == before or report.findings


@pytest.mark.parametrize("where", [0.15, 0.4, 0.9])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_flipped_bit_is_found_in_its_frame(number: int, where: float) -> None:
    disk = FakeDisk()
    filled(disk)
    name = names(disk)[number]
    offset = int(disk.open(name).size() * where)
    frame, _ = broken_frame(disk, name, offset)
    last = look(disk).state
    disk.damage(name, offset)
    report = look(disk)
    (finding,) = report.findings
    assert (finding.damage, finding.file, finding.offset) == (True, name, frame)
    assert finding.lsn == report.good is not None
    assert report.state == last, "the files behind the damage are read all the same"


def test_every_damaged_place_of_a_file_is_named() -> None:
    disk = FakeDisk()
    journal = filled(disk, batches=0).journal
    for _ in range(12):
        journal.append([Logged(lsn=journal.state.flush, data=b"x" * 400)])
    name = names(disk)[0]
    frames = [broken_frame(disk, name, offset) for offset in (2000, 3000, 4500)]
    for offset in (2000, 3000, 4500):
        disk.damage(name, offset)
    found = [finding for finding in look(disk).findings if finding.file == name]
    assert [(finding.offset, finding.lsn) for finding in found] == frames


def test_a_torn_end_is_a_note_and_in_a_file_with_a_successor_damage() -> None:
    disk = FakeDisk()
    journal = filled(disk).journal
    end, flush = journal._last.end, journal.state.flush
    disk.open(names(disk)[-1]).write((journal._last.header.nonce + b"begun and not ended",), end)
    report = look(disk)
    (note,) = report.findings
    assert (note.damage, note.file, note.offset, note.lsn) == (False, names(disk)[-1], end, flush)
    assert report.files[-1].end == end
    sealed = disk.open(names(disk)[0])
    sealed.write((b"junk",), sealed.size())
    damage, again = look(disk).findings
    assert (damage.damage, damage.file, damage.offset) == (True, names(disk)[0], sealed.size() - 4)
    assert again == note


def test_a_missing_file_of_the_journal_is_named_with_where_the_log_ends_before_it() -> None:
    disk = FakeDisk()
    filled(disk)
    missing, before = names(disk)[2], look(disk)
    disk.remove(missing)
    report = look(disk)
    (finding,) = report.findings
    assert (finding.damage, finding.file, finding.offset) == (True, missing, None)
    assert "missing" in finding.meaning
    assert report.state == before.state
    assert [replace(file, log=None) for file in before.files if file.name != missing] == [
        replace(file, log=None) for file in report.files
    ]


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_damaged_header_hides_its_file_alone(number: int) -> None:
    disk = FakeDisk()
    filled(disk)
    name = names(disk)[number]
    disk.damage(name, 30)
    report = look(disk)
    (finding,) = report.findings
    assert (finding.damage, finding.file, finding.offset) == (True, name, 0)
    assert [file.name for file in report.files if file.batches] == [each for each in names(disk) if each != name]


def test_a_file_of_another_member_is_damage() -> None:
    disk, other = FakeDisk(), FakeDisk()
    state = filled(disk).journal.state
    open_store(other, member="ffffffffffffffff", cluster_uid=CLUSTER, allow_format=True).journal.close()
    disk._names[names(disk)[0]] = other._names[names(other)[0]]
    report = look(disk)
    assert "is not the one that belongs here" in report.findings[0].meaning
    assert {finding.file for finding in report.findings} == {names(disk)[0]}
    assert report.state == state


@pytest.mark.parametrize("offset", [3, 2000])
def test_a_damaged_image_is_found(offset: int) -> None:
    disk = FakeDisk()
    filled(disk)
    image = disk.list("images")[0]
    disk.damage(f"images/{image}", offset)
    report = look(disk)
    (finding,) = report.findings
    assert (finding.damage, finding.file) == (True, f"images/{image}")
    assert not report.images[0].complete
    assert "fetches this image anew" in finding.remedy


def test_a_missing_image_is_damage_and_an_upload_that_has_not_ended_is_none() -> None:
    disk = FakeDisk()
    store = open_store(disk, member=MEMBER, cluster_uid=CLUSTER, allow_format=True)
    store.images.begin("ab" * 32, 100).add(0, bytes(10))
    report = look(disk)
    assert [(image.size, image.complete) for image in report.images] == [(10, False)]
    assert [finding.damage for finding in report.findings] == [False]
    store.journal.append([Entered(history=(Reign(epoch=Epoch(1), start=START, image="ab" * 32),), end=START)])
    assert [finding.file for finding in look(disk).findings if finding.damage] == [f"images/{'ab' * 32}"]


def test_an_identity_that_is_lost_is_damage_unless_the_disk_was_just_being_formatted() -> None:
    disk = FakeDisk()
    open_store(disk, member=MEMBER, cluster_uid=CLUSTER, allow_format=True)
    disk.remove("identity.json")
    assert [finding.damage for finding in look(disk).findings] == [False]
    filled(disk)
    disk.damage("identity.json", 0)
    report = look(disk)
    assert [(finding.damage, finding.file) for finding in report.findings] == [(True, "identity.json")]
    assert report.identity.member == MEMBER


def test_an_unreadable_configuration_is_damage() -> None:
    disk = FakeDisk()
    filled(disk)
    disk.damage("volume.json", 0)
    report = look(disk)
    assert report.volume is None
    assert [(finding.damage, finding.file) for finding in report.findings] == [(True, "volume.json")]


def test_another_format_is_refused() -> None:
    disk = FakeDisk()
    filled(disk)
    disk.create("identity.json").write((b'{"format": 3, "member": "m", "clusterUid": "c"}',), 0)
    with pytest.raises(DiskUnreadable, match="format 3"):
        look(disk)


def test_a_history_that_cannot_be_is_named() -> None:
    disk = FakeDisk()
    state = filled(disk).journal.state
    assert faults(state) == []
    first = state.history[0]
    assert faults(state._replace(history=(first, first)))
    assert faults(state._replace(history=(Reign(epoch=Epoch(1), start=START),)))
    assert faults(state._replace(flush=Lsn(state.start - 1)))
    assert faults(state._replace(committed=Lsn(state.flush + 1))) == [], "a D that was told and is not reached here"


class Growing(FakeDisk):
    """A disk whose last file is seen as it was, for so many reads, before a running node went on with it."""

    def __init__(self, disk: FakeDisk, before: bytes, reads: int) -> None:
        super().__init__()
        self._names, self.name, self.before, self.reads = disk._names, names(disk)[-1], before, reads

    def open(self, name: str) -> FakeFile:
        file = super().open(name)
        return GrowingFile(self, file._inode) if name == self.name else file


class GrowingFile(FakeFile):
    """The last file of a Growing disk."""

    def read(self, size: int, offset: int) -> bytes:
        disk = self._disk
        assert isinstance(disk, Growing)
        disk.reads -= 1
        return disk.before[offset : offset + size] if disk.reads >= 0 else super().read(size, offset)


@pytest.mark.parametrize("reads", range(8))
@pytest.mark.parametrize("torn", [0, 10, 200])
def test_what_a_running_node_appends_meanwhile_is_no_damage(reads: int, torn: int) -> None:
    disk = FakeDisk()
    journal = filled(disk, batches=0).journal
    while journal.wants_fill:
        journal.fill()
    flush, end, size = journal.state.flush, journal._last.end, disk.open(names(disk)[-1]).size()
    for _ in range(3):
        journal.append([Logged(lsn=journal.state.flush, data=b"x" * 300)])
    before = disk.open(names(disk)[-1]).read(end + torn, 0).ljust(size, b"\0")
    report = look(Growing(disk, before, reads))
    assert not report.damaged
    assert report.state.flush in (flush, journal.state.flush)
