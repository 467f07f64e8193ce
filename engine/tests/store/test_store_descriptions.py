"""What the device did not take is told once to each open file description: who acknowledges has one that nobody else
syncs, so an error is never told to somebody else in its place (errseq_t of Linux)."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from borealis_engine.contract.volume import Epoch
from borealis_engine.core.journal import Promised
from borealis_engine.store.disk import RealDisk, Unopened
from borealis_engine.store.errors import DiskFailed
from borealis_engine.store.holes import Piece
from borealis_engine.store.journal import Journal, Sizes
from borealis_engine.store.journal_file import JournalFile, file_name
from borealis_engine.store.mending import put
from borealis_engine.store.recovery import create_journal, open_journal
from borealis_engine.store.testing import FakeDisk

MEMBER = "00112233aabbccdd"
SIZES = Sizes(file=64 << 10, ahead=8 << 10, step=4 << 10)
NAME = file_name(1)
PROMISE = Promised(epoch=Epoch(2), owner="a")


def opened(disk: FakeDisk | RealDisk) -> Journal:
    disk.make_folder("journal")
    create_journal(disk, member=MEMBER)
    return open_journal(disk, member=MEMBER, sizes=SIZES)


def fill(journal: Journal) -> None:
    """Sync what is filled ahead, as its thread does while another one appends: the lock is held for writing alone."""
    file = journal.files[1]
    (file._ahead or file.reopen()).sync()


def mend(journal: Journal) -> None:
    file = journal.files[1].reopen()
    put(file, [Piece(offset=0, data=file.read(8, 0))])


@pytest.mark.parametrize("other", [fill, mend])
@pytest.mark.parametrize("had_it_open", [False, True])
def test_who_appends_hears_of_lost_bytes_although_another_synced_first(
    other: Callable[[Journal], object], had_it_open: bool
) -> None:
    disk = FakeDisk()
    journal = opened(disk)
    if had_it_open:
        journal.fill()
        other(journal)
    heard = list[str]()

    def overtaken() -> None:
        disk.fail_writeback(NAME)
        with pytest.raises((DiskFailed, OSError)) as error:
            other(journal)
        heard.append(str(error.value))

    disk.before_sync = overtaken
    with pytest.raises(DiskFailed):
        journal.append([PROMISE])
    assert len(heard) == 1
    assert journal.state.promised == 0, "it would be acknowledged, and is on no disk"


def test_who_fills_ahead_hears_of_lost_zeros_although_an_append_synced_first() -> None:
    disk = FakeDisk()
    journal = opened(disk)
    journal.fill()
    disk.fail_writeback(NAME)
    with pytest.raises(DiskFailed):
        journal.append([PROMISE])
    with pytest.raises(DiskFailed):
        journal.fill()


def test_no_two_who_sync_share_a_description(tmp_path: Path) -> None:
    """Also not by way of a copy of a descriptor: those have one position, and one memory of errors."""
    journal = opened(RealDisk(tmp_path))
    journal.append([PROMISE])
    journal.fill()
    file = journal.files[1]
    mending, frontier = file.reopen(), journal.frontier()
    assert frontier is not None
    assert frontier.descriptor == file.fileno(), "the native library writes in the place of who appends"
    assert file._ahead is not None
    descriptors = [file.fileno(), file._ahead.fileno(), mending.fileno()]
    for position, descriptor in enumerate(descriptors, 1):
        os.lseek(descriptor, position, os.SEEK_SET)
    assert [os.lseek(descriptor, 0, os.SEEK_CUR) for descriptor in descriptors] == [1, 2, 3]
    mending.close()
    journal.close()


def test_a_file_that_is_left_behind_keeps_no_descriptor_for_filling(tmp_path: Path) -> None:
    journal = opened(RealDisk(tmp_path))
    journal.fill()
    first = journal.files[1]
    while len(journal.files) == 1:
        journal.append([Promised(epoch=Epoch(journal.state.promised + 1), owner="a" * 2000)])
    assert first._ahead is not None
    assert first._ahead.fileno() == -1
    assert first.fill(4096), "nothing to do there"
    journal.close()


def test_without_a_free_descriptor_nothing_is_filled_and_nothing_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(FakeDisk())
    filled = journal.bytes_used

    def scarce(self: JournalFile) -> None:
        raise Unopened(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "reopen", scarce)
        assert journal.fill() is False
    assert (journal.bytes_used, journal.failed) == (filled, "")
    journal.append([PROMISE])
    assert journal.fill()


def test_the_double_tells_each_description_once_and_a_later_one_only_what_nobody_was_told() -> None:
    disk = FakeDisk()
    early, other = disk.create("f"), disk.open("f")
    early.sync()
    disk.fail_writeback("f")
    late = disk.open("f")
    for file in (other, early, late):
        with pytest.raises(OSError, match="input/output"):
            file.sync()
        file.sync()
    disk.open("f").sync()
