"""Damage of a journal is mended in place or refused; what is believed afterwards is what was there before."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import Committed, Entered, Logged, Promised
from borealis_engine.core.messages import Reign
from borealis_engine.store.errors import DiskCorrupt, DiskFailed, LogDamaged
from borealis_engine.store.frames import FILE_HEADER, FRAME, parse_header, render_frame, scan
from borealis_engine.store.holes import Hole, Piece, fill
from borealis_engine.store.journal import Journal, Sizes
from borealis_engine.store.journal_file import file_name
from borealis_engine.store.mending import check_file, put, survey_journal
from borealis_engine.store.records import LOGGED
from borealis_engine.store.recovery import create_journal, open_journal
from borealis_engine.store.survey import Survey, Unsettled, survey_disk
from borealis_engine.store.testing import SECTOR, FakeDisk, PowerCut
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .journal_model import START, Model, random_batch

MEMBER = "00112233aabbccdd"
LAST_BATCH = 80  # bytes of the last promise at least
SMALL = Sizes(file=8192, ahead=2048, step=1024)
ENTRY = Entered(history=(Reign(epoch=Epoch(1), start=START, image="ab" * 32),), end=START)


def written(disk: FakeDisk, chance: random.Random, batches: int, *, log_only: bool = False) -> tuple[Journal, Model]:
    """Make a journal that ends with a batch of its own, so that damage before it is no torn end."""
    create_journal(disk, member=MEMBER)
    journal, model = open_journal(disk, member=MEMBER, sizes=SMALL), Model()
    for records in ([ENTRY], *[None] * batches, [Promised(epoch=Epoch(1 << 40), owner="last")]):
        given_ = records
        if given_ is None and log_only:
            given_ = [Logged(lsn=model.state.flush, data=chance.randbytes(chance.choice([1, 40, 300, 2000])))]
        wanted = given_ or random_batch(model.state, chance)
        journal.append(wanted)
        model = model.after(wanted)
    return journal, model


def damage(disk: FakeDisk, chance: random.Random, journal: Journal, kind: str) -> None:
    """Rot a bit, some bytes, whole sectors, or make sectors unreadable, before the last batch."""
    for _ in range(chance.randint(1, 3)):
        file = journal.files[chance.choice(list(journal.files))]
        name, end = file_name(file.header.number), file.end
        if file is journal._last:
            end = (end - LAST_BATCH) // SECTOR * SECTOR
        start = chance.randrange(0, max(1, end))
        length = {"bit": 1, "bytes": chance.randint(2, 60)}.get(kind, SECTOR * chance.randint(1, 3))
        if kind in ("sectors", "unreadable"):
            start -= start % SECTOR
        for at in range(start, min(start + length, end)):
            if kind == "unreadable":
                disk.spoil(name, at)
            else:
                disk.damage(name, at, 0x40 if kind == "bit" else chance.randint(1, 255))


def log_for(hole: Hole, model: Model, live: Lsn) -> bytes:
    """Give what a peer has of a hole's log, and zeros above what counts."""
    at = model.state.start
    return model.log[hole.lsn - at : live - at].ljust(hole.upto - hole.lsn, b"\0")


def rotten_checksum(hole: Hole, log: bytes) -> bool:
    """Say whether a head that is left has another checksum than the frame that stood there."""
    for lost in hole.readings[0]:
        payload = log[lost.lsn - hole.lsn :][: lost.length]
        head, _ = render_frame(hole.nonce, kind=LOGGED, last=lost.last, batch=lost.batch, lsn=lost.lsn, payload=payload)
        if lost.crc not in (None, FRAME.unpack(head)[1]):
            return True
    return False


def mend(disk: FakeDisk, found: Survey, model: Model, live: Callable[[Hole], Lsn]) -> bool:
    """Mend what was found; False if a place is refused, which only a checksum that is rotten itself excuses."""
    pieces = {number: list[Piece]() for number in {each.file for each in (*found.known, *found.holes)}}
    for known in found.known:
        pieces[known.file].append(known.piece)
    for hole in found.holes:
        upto = live(hole)
        log = log_for(hole, model, upto)
        data = fill(hole, log, live=upto, same=True)
        if data is None:
            assert rotten_checksum(hole, log)
            return False
        pieces[hole.file].extend(data)
    for number, belong in pieces.items():
        put(disk.open(file_name(number)), belong)
    return True


def mend_closed(disk: FakeDisk, model: Model) -> bool:
    """Mend a disk that is not open; False if it is refused."""
    try:
        found = survey_disk(disk, MEMBER)
    except DiskCorrupt:
        return False
    assert found.state == model.state
    return mend(disk, found, model, lambda hole: found.index.live(hole.file, hole.offset, hole.lsn, hole.upto))


def whole_log(journal: Journal) -> bytes:
    pieces, at = [], journal.state.start
    while at < journal.state.flush:
        pieces.append(journal.read(at, journal.state.flush))
        at = Lsn(at + len(pieces[-1]))
    return b"".join(pieces)


KINDS = ["bit", "bytes", "sectors", "unreadable"]


@settings(max_examples=150, deadline=None)
@example(seed=11361, kind="bytes", log_only=True)  # a header is lost, and with it the nonce of the first frame
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS), log_only=st.booleans())
def test_what_is_mended_is_what_was_there_and_anything_else_is_refused(seed: int, kind: str, log_only: bool) -> None:
    chance, disk = random.Random(seed), FakeDisk()
    journal, model = written(disk, chance, 60, log_only=log_only)
    damage(disk, chance, journal, kind)
    if mend_closed(disk, model):
        reopened = open_journal(disk, member=MEMBER, sizes=SMALL)
        assert reopened.state == model.state
        assert whole_log(reopened) == model.log
        assert survey_disk(disk, MEMBER).damaged == 0


@pytest.mark.parametrize("kind", KINDS)
def test_nearly_all_damage_of_plain_log_can_be_mended(kind: str) -> None:
    mended = 0
    for seed in range(40):
        chance, disk = random.Random(seed), FakeDisk()
        journal, model = written(disk, chance, 60, log_only=True)
        damage(disk, chance, journal, kind)
        mended += mend_closed(disk, model)
    assert mended >= 30


@settings(max_examples=80, deadline=None)
@example(seed=4294967295, kind="sectors", cuts=[0])  # a mixture of two ways to cut the log into frames
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS[:3]), cuts=st.lists(st.integers(0, 6), max_size=4))
def test_a_crash_while_mending_leaves_what_can_be_mended(seed: int, kind: str, cuts: list[int]) -> None:
    chance, disk = random.Random(seed), FakeDisk()
    journal, model = written(disk, chance, 60, log_only=True)
    damage(disk, chance, journal, kind)
    if not mend_closed(disk.crash(random.Random(seed)), model):
        return
    for cut in cuts:
        disk.cut_after = disk.operations + cut
        try:
            mend_closed(disk, model)
        except PowerCut:
            disk = disk.crash(chance)
        disk.cut_after = None
    assert mend_closed(disk, model)
    reopened = open_journal(disk, member=MEMBER, sizes=SMALL)
    assert (reopened.state, whole_log(reopened)) == (model.state, model.log)


@settings(max_examples=80, deadline=None)
@example(seed=358015, kind="bit")  # the checksum in a head is what rots, and only a promise follows
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_an_open_journal_is_mended_while_it_goes_on(seed: int, kind: str) -> None:
    chance, disk = random.Random(seed), FakeDisk()
    log_only = chance.random() < 0.5
    journal, model = written(disk, chance, 60, log_only=log_only)
    damage(disk, chance, journal, kind)
    for number, file in list(journal.files.items()):
        try:
            list(check_file(file))
            continue
        except DiskCorrupt:
            pass
        try:
            found = survey_journal(journal, number)
        except DiskCorrupt:
            return
        records = random_batch(model.state, chance)
        journal.append(records)
        model = model.after(records)
        proven = log_only and number == max(journal.files) and len(found.holes) == 1
        if not mend(disk, found, model, journal.live):
            assert not proven  # a single hole, whose end the journal knows, and nothing but log in it
            return
        for hole in found.holes:
            journal.recut(hole)
        list(check_file(file))
    assert whole_log(journal) == model.log
    reopened = open_journal(disk, member=MEMBER, sizes=SMALL)
    assert (reopened.state, whole_log(reopened)) == (model.state, model.log)


def frames_of(disk: FakeDisk, name: str) -> list[tuple[int, int, int]]:
    file = disk.open(name)
    nonce = parse_header(file.read(FILE_HEADER, 0)).nonce
    return [(frame.kind, frame.offset, frame.end) for frame in scan(file.read, nonce, FILE_HEADER, file.size())]


def one_file(disk: FakeDisk) -> tuple[Journal, Model, str]:
    create_journal(disk, member=MEMBER)
    journal, model = open_journal(disk, member=MEMBER), Model()
    for records in (
        [ENTRY, Promised(epoch=Epoch(2), owner="a")],
        *[[Logged(lsn=Lsn(START + 100 * n), data=bytes([n] * 100))] for n in range(9)],
        [Committed(epoch=Epoch(1), lsn=Lsn(START + 100))],
    ):
        journal.append(list(records))
        model = model.after(list(records))
    return journal, model, file_name(1)


def test_a_promise_that_is_damaged_is_never_guessed() -> None:
    disk = FakeDisk()
    journal, _, name = one_file(disk)
    (promise,) = [offset for kind, offset, _ in frames_of(disk, name) if kind == 2]
    disk.damage(name, promise + 40)
    for look in (lambda: survey_disk(disk, MEMBER), lambda: survey_journal(journal, 1)):
        with pytest.raises(DiskCorrupt, match="no promise or history"):
            look()


def test_a_checksum_that_is_rotten_itself_is_mended_where_the_sizes_prove_the_rest() -> None:
    disk = FakeDisk()
    journal, model, name = one_file(disk)
    _, start, end = frames_of(disk, name)[-2]  # the last one of log, which a D follows
    disk.damage(name, start + 4)
    (hole,) = survey_journal(journal, 1).holes
    assert (hole.offset, hole.end) == (start, end)
    assert mend(disk, survey_journal(journal, 1), model, journal.live)
    assert survey_journal(journal, 1).damaged == 0
    disk.damage(name, start + 4)
    assert not mend_closed(disk, model)  # where a journal ends that is not open, nobody says


def test_bytes_of_another_log_are_not_taken() -> None:
    disk = FakeDisk()
    journal, model, name = one_file(disk)
    _, start, end = frames_of(disk, name)[5]
    disk.damage(name, start + FRAME.size + 3)
    (hole,) = survey_journal(journal, 1).holes
    assert (hole.offset, hole.end) == (start, end)
    right = log_for(hole, model, hole.upto)
    assert fill(hole, right, live=hole.upto, same=False) is not None
    wrong = bytes([right[0] ^ 1]) + right[1:]
    assert fill(hole, wrong, live=hole.upto, same=False) is None
    assert fill(hole, right[:-1], live=hole.upto, same=True) is None
    headless = replace(hole, readings=hole.readings[-1:])
    assert headless.readings[0][0].crc is None
    assert fill(headless, right, live=hole.upto, same=False) is None
    (by_size,), (by_head,) = (fill(each, right, live=hole.upto, same=True) or () for each in (headless, hole))
    assert (by_size.data, by_size.recut, by_head.recut) == (by_head.data, True, False)


def test_damage_of_the_last_batch_waits_for_the_next_one_unless_the_sizes_prove_it() -> None:
    disk = FakeDisk()
    journal, model, name = one_file(disk)
    _, start, _ = frames_of(disk, name)[-1]
    disk.damage(name, start + 40)
    with pytest.raises(Unsettled):
        survey_journal(journal, 1)
    journal.append([Logged(lsn=model.state.flush, data=b"x" * 100)])
    disk = FakeDisk()
    journal, model, name = one_file(disk)
    journal.append([Logged(lsn=model.state.flush, data=b"x" * 100)])
    disk.damage(name, journal._last.end - 1)
    (hole,) = survey_journal(journal, 1).holes
    assert (hole.lsn, hole.upto) == (model.state.flush, journal.state.flush)


def test_reading_damage_names_the_file() -> None:
    disk = FakeDisk()
    journal, _, name = one_file(disk)
    _, start, _ = [frame for frame in frames_of(disk, name) if frame[0] == LOGGED][4]
    disk.spoil(name, start + 60)
    with pytest.raises(LogDamaged) as told:
        journal.read(START, journal.state.flush)
    assert told.value.file == 1


def test_void_log_needs_no_peer() -> None:
    disk = FakeDisk()
    journal, _, name = one_file(disk)
    history = (*ENTRY.history, Reign(epoch=Epoch(2), start=Lsn(START + 350)))
    journal.append([Entered(history=history, end=Lsn(START + 350))])
    logged = [frame for frame in frames_of(disk, name) if frame[0] == LOGGED]
    for _, start, _ in (logged[3], logged[6]):
        disk.damage(name, start + 50)
    holes = survey_journal(journal, 1).holes
    assert [(journal.live(hole) - hole.lsn) for hole in holes] == [50, 0]


def test_a_disk_that_does_not_keep_what_is_mended_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FakeDisk()
    file = disk.create("x")
    file.write((bytes(100),), 0)
    monkeypatch.setattr(file, "write_through", lambda buffers, offset: None)
    with pytest.raises(DiskFailed, match="does not keep"):
        put(file, [Piece(offset=10, data=b"abc")])
