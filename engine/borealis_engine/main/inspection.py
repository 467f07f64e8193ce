"""`borealis-storage inspect` and `verify`: what a directory holds, and whether it is whole. Nothing is changed."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from borealis_engine.contract.volume import format_lsn
from borealis_engine.store import images, journal_file
from borealis_engine.store.disk import ReadOnlyDisk
from borealis_engine.store.errors import DiskFailed, DiskUnreadable
from borealis_engine.store.inspection import GIVE, FileReport, Finding, ImageReport, Report, inspect_disk

PROGRESS_S: Final = 2.0  # seconds of silence before and between lines of progress
WHOLE, DAMAGED, UNREADABLE = 0, 1, 2  # exit statuses

NOTES: Final = f"""\
Files are opened for reading only, and nothing is made, locked, repaired or cut. A storage node may hold the lock of its
disk and run meanwhile; what it appends then may be left out. Take copies while it is stopped, or from a snapshot of its
disk: a copy made file by file while it appends may look damaged. A whole last batch that is missing or broken cannot be
told from one that was never written.

exit status:
  {WHOLE}  all good; a torn end of the journal is good, a crash leaves it
  {DAMAGED}  damage was found
  {UNREADABLE}  not the directory of a storage node, or it cannot be read
"""
INSPECT_EXAMPLES: Final = """
examples:
  borealis-storage inspect /var/lib/borealis
  borealis-storage inspect --json /mnt/copy | jq -r .flush
"""
VERIFY_EXAMPLES: Final = """
examples:
  borealis-storage verify /var/lib/borealis
  borealis-storage verify /mnt/copy && echo whole
"""


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add both commands; one that was given leaves `work`, from arguments to exit status, in the namespace."""
    parser.set_defaults(work=None)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands (without one it serves)")
    inspect = _command(commands, "inspect", "print what a directory holds", INSPECT_EXAMPLES, _inspect)
    inspect.add_argument("--json", action="store_true", help="one JSON object; LSNs as text, sizes in bytes")
    _command(commands, "verify", "read every byte of a directory and name what is damaged", VERIFY_EXAMPLES, _verify)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    title: str,
    examples: str,
    work: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=title,
        description=f"{title[0].upper()}{title[1:]}, offline.",
        epilog=NOTES + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="the data directory of a storage node, or a copy")
    parser.set_defaults(work=work)
    return parser


def _inspect(given: argparse.Namespace) -> int:
    report = _look(given.directory, digests=False)
    if report is None:
        return UNREADABLE
    lines = [json.dumps(as_json(report))] if given.json else as_text(report)
    _print(lines)
    return DAMAGED if report.damaged else WHOLE


def _verify(given: argparse.Namespace) -> int:
    report = _look(given.directory, digests=True)
    if report is None:
        return UNREADABLE
    batches, blobs = sum(file.batches for file in report.files), sum(image.complete for image in report.images)
    whole = f"journal files: {len(report.files)}, batches: {batches}, images: {blobs}, log: {_held(report)}"
    count = sum(finding.damage for finding in report.findings)
    upto = f"log good up to {format_lsn(report.good)}; " if report.good is not None else ""
    summary = f"damaged places: {count}; {upto}read {whole}" if count else f"all good; {whole}"
    _print([*map(describe, report.findings), summary])
    return DAMAGED if count else WHOLE


def _look(root: Path, *, digests: bool) -> Report | None:
    """Read a directory; None, with the reason and the remedy on stderr, if that cannot be."""
    try:
        if not root.is_dir():
            raise DiskUnreadable(f"there is no such directory; {GIVE}")
        os.listdir(root)
        return inspect_disk(ReadOnlyDisk(root, Progress(root, digests=digests)), digests=digests)
    except DiskUnreadable as error:
        _complain(f"{root} is not the data directory of a storage node: {error}")
    except (DiskFailed, OSError) as error:
        remedy = "run as the user of the storage node (its files are readable by that user alone), or look at the disk"
        _complain(f"{root} cannot be read: {error}; {remedy}")
    return None


def _print(lines: Iterable[str]) -> None:
    """Print, in peace with a reader that has seen enough (`| head`): the exit status still tells the result."""
    try:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end


def _complain(message: str) -> None:
    sys.stderr.write(f"borealis-storage: {message}\n")


class Progress:
    """Says on stderr how far the reading has come, every PROGRESS_S seconds; `clock` gives seconds."""

    def __init__(self, root: Path, *, digests: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._folders = (journal_file.FOLDER, images.FOLDER) if digests else (journal_file.FOLDER,)
        self._clock = clock
        self._next = clock() + PROGRESS_S
        self._read: dict[str, int] = {}

    def __call__(self, name: str, upto: int) -> None:
        """Hear that file `name` was read up to an offset."""
        self._read[name] = max(upto, self._read.get(name, 0))
        if (now := self._clock()) >= self._next:
            self._next = now + PROGRESS_S
            total = sum(path.stat().st_size for folder in self._folders for path in (self._root / folder).iterdir())
            _complain(f"read {_size(sum(self._read.values()))} of {_size(total)}, now {name}")


def describe(finding: Finding) -> str:
    """Give the one line of a finding."""
    place = [finding.file]
    if finding.offset is not None:
        place.append(f"offset {finding.offset}")
    if finding.lsn is not None:
        place.append(f"LSN {format_lsn(finding.lsn)}")
    return f"{'damage' if finding.damage else 'note'}: {', '.join(place)}: {finding.meaning}; {finding.remedy}"


def as_json(report: Report) -> dict[str, object]:
    """Give the object that `--json` prints: LSNs as X/X, sizes and offsets in bytes, null for what is not known."""
    state, volume = report.state, report.volume
    return {
        "member": report.identity.member,
        "format": report.identity.format,
        "clusterUid": report.identity.cluster_uid,
        "volume": json.loads(volume.to_json()) if volume else None,
        "promised": {"epoch": state.promised, "owner": state.owner, "resigned": state.resigned},
        "history": [{"epoch": r.epoch, "start": format_lsn(r.start), "image": r.image} for r in state.history],
        "first": format_lsn(state.start),
        "flush": format_lsn(state.flush),
        "durable": {"epoch": state.committed_epoch, "lsn": format_lsn(state.committed)},
        "journal": [_file_json(file) for file in report.files],
        "images": [_image_json(image) for image in report.images],
        "findings": [asdict(f) | {"lsn": None if f.lsn is None else format_lsn(f.lsn)} for f in report.findings],
        "damaged": report.damaged,
    }


def _file_json(file: FileReport) -> dict[str, object]:
    log = [format_lsn(lsn) for lsn in file.log] if file.log else None
    return {
        "file": file.name,
        "size": file.size,
        "firstBatch": file.first_batch,
        "batches": file.batches,
        "end": file.end,
        "filledAhead": file.ahead,
        "log": log,
    }


def _image_json(image: ImageReport) -> dict[str, object]:
    log = [format_lsn(image.log.start), format_lsn(image.log.end)] if image.log else None
    return {"image": image.name, "size": image.size, "complete": image.complete, "log": log}


def as_text(report: Report) -> Iterator[str]:
    """Give the lines that `inspect` prints for people."""
    state, volume = report.state, report.volume
    yield f"member      {report.identity.member}"
    yield f"format      {report.identity.format}"
    yield f"cluster     {report.identity.cluster_uid or 'not known'}"
    if volume is None:
        yield "volume      no configuration remembered"
    else:
        sealed = "sealed" if volume.sealed else "not sealed"
        yield f"volume      generation {volume.generation}, revision {volume.revision}, {sealed}"
    resigned = ", who resigned" if state.resigned else ""
    yield f"promised    epoch {state.promised} to {state.owner}{resigned}" if state.promised else "promised    nothing"
    for title, reign in zip(["history", *[""] * len(state.history)], state.history, strict=False):
        image = f", image {reign.image}" if reign.image else ""
        reached = "" if reign in state.held else ", not reached by the log"
        yield f"{title:11} epoch {reign.epoch} from {format_lsn(reign.start)}{image}{reached}"
    yield f"log         {_held(report)}"
    yield f"D           {format_lsn(state.committed)}, as told in epoch {state.committed_epoch}"
    yield from _tables(report)
    if report.good is not None:
        yield f"good        log up to {format_lsn(report.good)}; the lines above are as the last readable batch says"
    yield from map(describe, report.findings)


def _tables(report: Report) -> Iterator[str]:
    files = report.files
    yield f"journal     {len(files)} files, {_size(sum(file.size for file in files))}"
    heads = ("file", "bytes", "batches", "log", "filled ahead")
    yield from _table(heads, ((f.name, f.size, _batches(f), _log(f), f.ahead) for f in files))
    yield f"images      {len(report.images)}, {_size(sum(image.size for image in report.images))}"
    for image in report.images:
        yield f"  {image.name}  {_size(image.size)}, {'complete' if image.complete else 'not complete'}"


def _table(heads: Iterable[object], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    cells = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _batches(file: FileReport) -> str:
    return f"{file.first_batch} to {file.first_batch + file.batches - 1}" if file.batches else "none"


def _log(file: FileReport) -> str:
    return f"[{format_lsn(file.log[0])}, {format_lsn(file.log[1])})" if file.log else "none"


def _held(report: Report) -> str:
    return f"[{format_lsn(report.state.start)}, {format_lsn(report.state.flush)})"


def _size(size: int) -> str:
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << power:
            return f"{size / (1 << power):.1f} {unit}"
    return f"{size} bytes"
