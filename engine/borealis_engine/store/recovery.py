"""Opening the journal after whatever happened to it.

All files are scanned, whole batches replayed, the torn end of the last batch cut, and everything that was found is
synced before anything of it is reported (what a killed process wrote may still be in the page cache only). Damage that
a torn write cannot explain is DiskCorrupt and never repaired by cutting.
"""

import secrets
from dataclasses import dataclass, field

from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.journal import EMPTY, DurableState, apply
from borealis_engine.store.disk import Disk
from borealis_engine.store.errors import DiskCorrupt, disk_errors
from borealis_engine.store.frames import FILE_HEADER, FileHeader, batches, find_later, scan
from borealis_engine.store.index import LogIndex
from borealis_engine.store.journal import NONCE, Journal, Sizes
from borealis_engine.store.journal_file import FOLDER, SUFFIX, JournalFile, create_file, open_file
from borealis_engine.store.records import parse_record, parse_state, render_state

DEFAULT_SIZES = Sizes()


@dataclass(slots=True)
class _Found:
    """What the scan has put together so far."""

    state: DurableState = EMPTY
    batch: int = 0
    index: LogIndex = field(default_factory=LogIndex)
    files: dict[int, JournalFile] = field(default_factory=dict)


def open_journal(disk: Disk, *, member: str, sizes: Sizes = DEFAULT_SIZES) -> Journal:
    """Open the journal of a formatted disk; DiskCorrupt or DiskFailed if it cannot be trusted."""
    with disk_errors("opening the journal"):
        found = _Found()
        listed = disk.list(FOLDER)
        for stray in [name for name in listed if not name.endswith(SUFFIX)]:
            disk.remove(f"{FOLDER}/{stray}")
        names = [name for name in listed if name.endswith(SUFFIX)]
        for name in names:
            _open_one(found, disk, name, member, last=name == names[-1])
        if not found.files:
            raise DiskCorrupt("the journal has no file")
    return Journal(
        disk, member=member, sizes=sizes, files=found.files, state=found.state, index=found.index, batch=found.batch
    )


def create_journal(disk: Disk, *, member: str) -> None:
    """Make the first file of a journal that holds nothing."""
    header = FileHeader(member=member, number=1, first_batch=1, nonce=secrets.token_bytes(NONCE))
    create_file(disk, header, render_state(header.nonce, 1, EMPTY)).close()


def _open_one(found: _Found, disk: Disk, name: str, member: str, *, last: bool) -> None:
    file = open_file(disk, name)
    header = file.header
    number = max(found.files, default=header.number - 1) + 1
    if header.member != member or header.number != number or header.first_batch != found.batch + 1:
        raise DiskCorrupt(f"journal file {name} is not the one that belongs here")
    found.files[header.number] = file
    _replay(found, file)
    _check_rest(found, file, last=last)


def _replay(found: _Found, file: JournalFile) -> None:
    """Take over the whole batches of a file, the first of which repeats the state of all before."""
    header = file.header
    for group in batches(scan(file.read, header.nonce, FILE_HEADER, file.size()), header.first_batch):
        for frame in group:
            if frame.batch == header.first_batch:
                state = parse_state(frame)
                if header.number > 1 and len(found.files) > 1 and state != found.state:
                    raise DiskCorrupt(f"journal file {header.number} does not continue the one before")
                found.state = state
                continue
            record = parse_record(frame)
            found.index.note(record, found.state, header.number, frame.offset)
            try:
                found.state = apply(found.state, record)
            except SafetyViolated as error:
                raise DiskCorrupt(f"journal file {header.number} at {frame.offset}: {error}") from error
        found.batch, file.end = group[-1].batch, group[-1].end
    if found.batch < header.first_batch:
        raise DiskCorrupt(f"journal file {header.number} has no valid beginning")


def _check_rest(found: _Found, file: JournalFile, *, last: bool) -> None:
    """Look behind the last whole batch: zeros stand there, or (in the last file) its torn successor, which is cut."""
    later = find_later(file.read, file.header.nonce, file.end, file.size(), found.batch + 1)
    if later is not None:
        raise DiskCorrupt(f"damage at {file.end} of journal file {file.header.number}, before batch {later.batch}")
    if _zeros(file):
        file.sync()
    elif last:
        file.cut()
    else:
        raise DiskCorrupt(f"damage at {file.end} of journal file {file.header.number}, which has a successor")


def _zeros(file: JournalFile) -> bool:
    step = 1 << 20
    return not any(file.read(step, at).strip(b"\0") for at in range(file.end, file.size(), step))
