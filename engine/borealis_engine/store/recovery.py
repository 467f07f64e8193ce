"""Opening the journal after whatever happened to it.

All files are scanned, whole batches replayed, the torn end of the last batch cut, and everything that was found is
synced before anything of it is reported (what a killed process wrote may still be in the page cache only). Damage that
a torn write cannot explain is DiskCorrupt and never repaired by cutting. `admit`, `replay` and `is_torn` change nothing
on the disk: `inspection` looks with the same eyes.
"""

import secrets
from dataclasses import dataclass, field

from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.journal import EMPTY, DurableState, apply
from borealis_engine.store.disk import Disk
from borealis_engine.store.errors import DiskCorrupt, disk_errors
from borealis_engine.store.frames import FileHeader, Frame, batches, find_later, scan
from borealis_engine.store.index import LogIndex
from borealis_engine.store.journal import NONCE, Journal, Sizes
from borealis_engine.store.journal_file import FOLDER, SUFFIX, JournalFile, begin_file, create_file, open_file
from borealis_engine.store.records import parse_record, parse_state, render_state

DEFAULT_SIZES = Sizes()


@dataclass(slots=True)
class Found:
    """What the scan has put together so far: state and last batch, where the log lies, the files that hold it."""

    state: DurableState = EMPTY
    batch: int = 0
    batch_at: int = 0  # its offset, in the last file
    index: LogIndex = field(default_factory=LogIndex)
    files: dict[int, JournalFile] = field(default_factory=dict)


def open_journal(disk: Disk, *, member: str, sizes: Sizes = DEFAULT_SIZES) -> Journal:
    """Open the journal of a formatted disk; DiskCorrupt or DiskFailed if it cannot be trusted."""
    with disk_errors("opening the journal"):
        found = Found()
        listed = disk.list(FOLDER)
        for stray in [name for name in listed if not name.endswith(SUFFIX)]:
            disk.remove(f"{FOLDER}/{stray}")
        names = [name for name in listed if name.endswith(SUFFIX)]
        for name in names:
            file = open_file(disk, name)
            admit(found, file, member)
            replay(found, file)
            if is_torn(found, file, last=name == names[-1]):
                file.cut()
            else:
                file.sync()
            if name == names[-1]:
                file.affirm(found.batch_at)  # each batch before was synced before the next one was written
        if not found.files:
            raise DiskCorrupt("the journal has no file")
        disk.sync_directory(FOLDER)  # also a name that was given just before the last process died
    return Journal(
        disk, member=member, sizes=sizes, files=found.files, state=found.state, index=found.index, batch=found.batch
    )


def create_journal(disk: Disk, *, member: str) -> None:
    """Make the first file of a journal that holds nothing."""
    header = FileHeader(member=member, number=1, first_batch=1, nonce=secrets.token_bytes(NONCE))
    create_file(disk, begin_file(disk, header), header, render_state(header.nonce, 1, EMPTY)).close()


def admit(found: Found, file: JournalFile, member: str) -> None:
    """Take a file as the next one, with nothing of it replayed; DiskCorrupt if another one belongs here."""
    header = file.header
    number = max(found.files, default=header.number - 1) + 1
    if header.member != member or header.number != number or header.first_batch != found.batch + 1:
        raise DiskCorrupt(f"journal file {header.number} is not the one that belongs here")
    found.files[header.number] = file


def replay(found: Found, file: JournalFile) -> None:
    """Take over the whole batches from `file.end` on and move it behind them; DiskCorrupt leaves all up to there.

    The first batch of a file repeats the state of all before.
    """
    header = file.header
    for group in batches(scan(file.read, header.nonce, file.end, file.filled), found.batch + 1):
        state = found.state
        for frame in group:
            state = _after(found, state, header, frame)
        found.state, found.batch, file.end = state, group[-1].batch, group[-1].end
        found.batch_at = group[0].offset
    if found.batch < header.first_batch:
        raise DiskCorrupt(f"journal file {header.number} has no valid beginning")


def _after(found: Found, state: DurableState, header: FileHeader, frame: Frame) -> DurableState:
    """Give the state after one frame, and note where its log lies."""
    if frame.batch == header.first_batch:
        repeated = parse_state(frame)
        if header.number > 1 and len(found.files) > 1 and repeated != state:
            raise DiskCorrupt(f"journal file {header.number} does not continue the one before")
        return repeated
    record = parse_record(frame)
    found.index.note(record, state, header.number, frame.offset)
    try:
        return apply(state, record)
    except SafetyViolated as error:
        raise DiskCorrupt(f"journal file {header.number} at {frame.offset}: {error}") from error


def is_torn(found: Found, file: JournalFile, *, last: bool) -> bool:
    """Look behind the last whole batch: False for zeros, True for its torn successor (in the last file alone).

    DiskCorrupt for anything else: bytes that were durable are damaged.
    """
    later = find_later(file.read, file.header.nonce, file.end, file.filled, found.batch + 1)
    if later is not None:
        raise DiskCorrupt(f"damage at {file.end} of journal file {file.header.number}, before batch {later.batch}")
    if _zeros(file):
        return False
    if last:
        return True
    raise DiskCorrupt(f"damage at {file.end} of journal file {file.header.number}, which has a successor")


def _zeros(file: JournalFile) -> bool:
    step = 1 << 20
    return not any(file.read(step, at).strip(b"\0") for at in range(file.end, file.filled, step))
