"""Looking at a member's disk without opening it: what it holds, and what is wrong with it.

The journal is read with the eyes of recovery (`admit`, `replay`, `is_torn`), so the node would refuse what is called
damage of it here, and nothing else; but nothing is changed, and what stands behind damage is looked at too. A running
node may append meanwhile: files are read up to the length that they had when they were opened, and a batch that seemed
broken is read again before it counts as damaged, since a later batch is written only after it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from borealis_engine.contract.volume import Lsn, VolumeConfig, format_lsn
from borealis_engine.core.effects import ImageExtent
from borealis_engine.core.journal import EMPTY, DurableState
from borealis_engine.store import images, journal_file
from borealis_engine.store.disk import Disk, File
from borealis_engine.store.errors import DiskCorrupt, DiskUnreadable
from borealis_engine.store.frames import Frame, batches, find_later, scan
from borealis_engine.store.journal_file import JournalFile, file_name, open_file
from borealis_engine.store.member import FORMAT, IDENTITY, UNCHECKED, VOLUME, Identity, read_identity, read_volume
from borealis_engine.store.records import LOGGED
from borealis_engine.store.recovery import Found, admit, is_torn, replay

LEAVE = (
    "a node mends damaged log from the others, while it runs and when it starts; if it says that it cannot, leave its"
    " data as they are, for one whose disk was emptied counts for nothing; see the runbook BorealisMemberLost"
)
FETCH_IMAGE = (
    "a node that runs fetches this image anew from another member by itself (the name is the digest of its bytes)"
)
COPY_VOLUME = "the node takes part in nothing until the operator has told it the configuration, as it does at once"
GIVE = "give the directory that BOREALIS_DATA_DIR of a storage node names, or a whole copy of it"
NOTHING = "nothing to do"
UNFORMATTED = (
    f"{IDENTITY} is missing, the journal holds nothing: formatting was interrupted, and is begun again when it may"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a healthy, stopped member does not have; `damage` is False for what a crash may leave.

    `file` is relative to the directory; `offset` (bytes) and `lsn` (end of the log that is good before it) are None
    where they make no sense.
    """

    damage: bool
    file: str
    offset: int | None
    lsn: Lsn | None
    meaning: str
    remedy: str


@dataclass(slots=True, kw_only=True)
class FileReport:
    """One journal file: sizes in bytes, whole batches, and the live log in it, as [start, end)."""

    name: str
    size: int = 0
    first_batch: int = 0
    batches: int = 0
    end: int = 0  # offset behind the last good batch
    ahead: int = 0  # zeros behind that
    log: tuple[Lsn, Lsn] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """One blob; `complete` unless its upload has not ended or it is damaged. `log` is what came with it."""

    name: str
    size: int
    complete: bool
    log: ImageExtent | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a disk holds: `state` is that of the last good batch, `volume` None if none is remembered."""

    identity: Identity
    volume: VolumeConfig | None
    state: DurableState
    files: Sequence[FileReport]
    images: Sequence[ImageReport]
    findings: Sequence[Finding]

    @property
    def damaged(self) -> bool:
        """Tell whether anything was found that a crash does not explain."""
        return any(finding.damage for finding in self.findings)

    @property
    def good(self) -> Lsn | None:
        """Give the end of the log that is good before the first damage of the journal; None if it has none."""
        return next((f.lsn for f in self.findings if f.damage and f.lsn is not None), None)


def inspect_disk(disk: Disk, *, digests: bool) -> Report:
    """Read the whole journal, and with `digests` the images too; nothing is changed.

    DiskUnreadable if this is no disk of a member, or of a format of another release; OSError or DiskFailed if it cannot
    be read.
    """
    findings = list[Finding]()
    names = [name for name in disk.list(journal_file.FOLDER) if name.endswith(journal_file.SUFFIX)]
    identity, fault = _identity(disk, names)
    journal = _JournalSurvey(disk, identity.member, findings)
    journal.all(names)
    if fault:
        pristine = IDENTITY not in disk.list("") and journal.state == EMPTY and not findings
        findings.insert(0, _normal(IDENTITY, UNFORMATTED) if pristine else _damage(IDENTITY, fault))
    volume = _volume(disk, findings, identity)
    return Report(
        identity=identity,
        volume=volume,
        state=journal.state,
        files=journal.files,
        images=_images(disk, journal.state, findings, digests=digests),
        findings=findings,
    )


def _identity(disk: Disk, names: Sequence[str]) -> tuple[Identity, str]:
    """Read whose disk it is; if that is lost, the journal says which member's, and the reason comes with it."""
    present = IDENTITY in disk.list("")
    if not present and not names:
        raise DiskUnreadable(f"there is neither {IDENTITY} nor a journal; {GIVE}")
    try:
        if not present:
            raise DiskCorrupt(f"{IDENTITY} is missing")
        identity = read_identity(disk)
    except DiskCorrupt as error:
        return Identity(format=FORMAT, member=_member(disk, names), cluster_uid=""), str(error)
    if identity.format not in (FORMAT, UNCHECKED):
        raise DiskUnreadable(
            f"it has format {identity.format}, and this release knows {FORMAT}; use the release that wrote it"
        )
    return identity, ""


def _member(disk: Disk, names: Sequence[str]) -> str:
    for name in names:
        try:
            file = open_file(disk, name)
        except DiskCorrupt:
            continue
        file.close()
        return file.header.member
    return ""


def _volume(disk: Disk, findings: list[Finding], identity: Identity) -> VolumeConfig | None:
    try:
        text = read_volume(disk, unchecked=identity.format == UNCHECKED)
        return VolumeConfig.from_json(text) if text else None
    except (DiskCorrupt, KeyError, TypeError, ValueError) as error:
        findings.append(_damage(VOLUME, f"unreadable: {error!r}", remedy=COPY_VOLUME))
        return None


@dataclass(slots=True)
class _JournalSurvey:
    """Reads file after file; behind damage it begins anew with the state that the next file repeats."""

    disk: Disk
    member: str
    findings: list[Finding]
    found: Found = field(default_factory=Found)
    files: list[FileReport] = field(default_factory=list)
    state: DurableState = EMPTY
    lost: bool = False  # whether what was found so far does not lead up to the next file

    def all(self, names: Sequence[str]) -> None:
        """Read the files of these names, which are sorted."""
        expected = 1
        for name in names:
            number = name.removesuffix(journal_file.SUFFIX)
            if number.isdigit():
                self._missing(range(expected, int(number)))
                expected = int(number) + 1
            report = FileReport(name=f"{journal_file.FOLDER}/{name}")
            self.files.append(report)
            self._file(name, report, last=name == names[-1])
        self._note_log()
        if not names:
            self._damage(journal_file.FOLDER, None, "the journal has no file")
        for stray in self.disk.list(journal_file.FOLDER):
            if not stray.endswith(journal_file.SUFFIX):
                meaning = "a file that was begun and not finished, normal after a crash; removed at the next start"
                self.findings.append(_normal(f"{journal_file.FOLDER}/{stray}", meaning))

    def _missing(self, numbers: range) -> None:
        for number in numbers[:1]:
            more = f", and the {len(numbers) - 1} after it" if len(numbers) > 1 else ""
            self._damage(file_name(number), None, f"this file of the journal is missing{more}")

    def _file(self, name: str, report: FileReport, *, last: bool) -> None:
        try:
            file = open_file(self.disk, name)
        except DiskCorrupt as error:
            self._damage(report.name, 0, f"{error}: nothing in it can be read")
            return
        try:
            if self.lost:
                self._begin_anew(file.header.first_batch - 1)
            report.size, report.first_batch = file.filled, file.header.first_batch
            self._read(file, report, last=last)
        finally:
            file.close()

    def _read(self, file: JournalFile, report: FileReport, *, last: bool) -> None:
        self._admit(file, report)
        before = self.found.batch
        try:
            replay(self.found, file)
        except DiskCorrupt as error:
            self._behind(file, report, file.end, str(error))
        else:
            self._rest(file, report, last=last)
        report.end, report.batches = file.end, max(0, self.found.batch - before)
        if file.header.member != self.member:
            self.lost = True
        elif report.batches:
            self.state = self.found.state
            for fault in faults(self.state):
                self._damage(report.name, report.end, fault)

    def _admit(self, file: JournalFile, report: FileReport) -> None:
        try:
            admit(self.found, file, self.member)
        except DiskCorrupt as error:
            self._damage(report.name, 0, str(error))
            self._begin_anew(file.header.first_batch - 1)
            admit(self.found, file, file.header.member)

    def _rest(self, file: JournalFile, report: FileReport, *, last: bool) -> None:
        """Look behind the whole batches of a file."""
        try:
            torn = self._is_torn(file, last=last)
        except DiskCorrupt:
            self._behind(file, report, _broken(file, file.end), "damaged bytes")
            return
        report.ahead = 0 if torn else max(0, report.size - file.end)
        if torn:
            meaning = (
                f"the {report.size - file.end} bytes behind batch {self.found.batch} are no whole batch: normal after"
                " a crash and while the node runs (damage to the very last batch looks the same); cut at the next start"
            )
            self.findings.append(_normal(report.name, meaning, offset=file.end, lsn=self.found.state.flush))

    def _is_torn(self, file: JournalFile, *, last: bool) -> bool:
        while True:
            batch = self.found.batch
            try:
                return is_torn(self.found, file, last=last)
            except DiskCorrupt:
                replay(self.found, file)  # a running node may have finished the batch since it was read
                if self.found.batch == batch:
                    raise

    def _behind(self, file: JournalFile, report: FileReport, at: int, meaning: str) -> None:
        """Tell of damage behind what is good, which begins at `at`, and of more of it further behind."""
        nonce, batch, lsn = file.header.nonce, self.found.batch + 1, self._good
        told = False
        while (later := find_later(file.read, nonce, at, file.filled, batch)) is not None:
            self._damage(report.name, at, f"{meaning}; whole again from {later.offset} on, batch {later.batch}", lsn)
            at, batch, told = later.end, later.batch, True
            try:
                for group in batches(scan(file.read, nonce, later.offset, file.filled), later.batch):
                    at, batch, lsn = group[-1].end, group[-1].batch + 1, _log_end(group, lsn)
                at, meaning = _broken(file, at), "damaged bytes"
            except DiskCorrupt as further:
                meaning, told = str(further), False
        if not told:
            self._damage(report.name, at, f"{meaning}; nothing behind is whole", lsn)

    @property
    def _good(self) -> Lsn:
        """Where the log ends that is good so far."""
        return (self.state if self.found.state == EMPTY else self.found.state).flush

    def _damage(self, name: str, offset: int | None, meaning: str, lsn: Lsn | None = None) -> None:
        self.findings.append(_damage(name, meaning, offset=offset, lsn=self._good if lsn is None else lsn))
        self.lost = True

    def _begin_anew(self, batch: int) -> None:
        self._note_log()
        self.found, self.lost = Found(batch=batch), False

    def _note_log(self) -> None:
        """Enter into the reports where the log lies that was found since the last beginning."""
        reports = {report.name: report for report in self.files}
        for number, start, end in self.found.index.runs:
            report = reports[file_name(number)]
            report.log = (report.log[0] if report.log else start, end)


def _broken(file: JournalFile, start: int) -> int:
    """Give the offset from `start` on where no whole frame stands."""
    for frame in scan(file.read, file.header.nonce, start, file.filled):
        start = frame.end
    return start


def _log_end(group: Sequence[Frame], before: Lsn) -> Lsn:
    """Give the end of the last log in a batch, `before` if there is none."""
    ends = [Lsn(frame.lsn + len(frame.payload)) for frame in group if frame.kind == LOGGED]
    return ends[-1] if ends else before


def faults(state: DurableState) -> list[str]:
    """Name what cannot be in a state that `apply` made."""
    found, history = list[str](), state.history
    for earlier, later in itertools.pairwise(history):
        if later.epoch <= earlier.epoch or later.start < earlier.start or later.image:
            found.append(f"in the history epoch {later.epoch} cannot follow epoch {earlier.epoch}")
    if history and not history[0].image:
        found.append("the history begins with no image")
    if not state.start <= state.flush:
        found.append(f"the log ends at {format_lsn(state.flush)}, before its start {format_lsn(state.start)}")
    return found


def _images(disk: Disk, state: DurableState, findings: list[Finding], *, digests: bool) -> list[ImageReport]:
    reports = list[ImageReport]()
    for name in disk.list(images.FOLDER):
        try:
            file = disk.open(f"{images.FOLDER}/{name}")
        except FileNotFoundError:
            continue  # an upload that has just ended
        try:
            reports.append(_image(file, name, findings, digests=digests))
        finally:
            file.close()
    wanted = state.history[0].image if state.history else ""
    if wanted and wanted not in [report.name for report in reports]:
        meaning = "the image that the log begins with is missing"
        findings.append(_damage(f"{images.FOLDER}/{wanted}", meaning, remedy=FETCH_IMAGE))
    return reports


def _image(file: File, name: str, findings: list[Finding], *, digests: bool) -> ImageReport:
    if name.endswith(images.TEMPORARY):
        meaning = (
            "an upload that has not ended, normal after a crash and while the node runs; removed at the next start"
        )
        findings.append(_normal(f"{images.FOLDER}/{name}", meaning))
        return ImageReport(name=name, size=file.size(), complete=False, log=None)
    log, whole = None, True
    try:
        log = images.extent_of(images.read_head(file, name))
        for _ in images.checked_pieces(file, name) if digests else ():
            pass
    except DiskCorrupt as error:
        whole = False
        meaning = f"{error}: its bytes are not those that it is named for"
        findings.append(_damage(f"{images.FOLDER}/{name}", meaning, remedy=FETCH_IMAGE))
    return ImageReport(name=name, size=file.size(), complete=whole, log=log)


def _damage(
    file: str, meaning: str, *, offset: int | None = None, lsn: Lsn | None = None, remedy: str = LEAVE
) -> Finding:
    return Finding(damage=True, file=file, offset=offset, lsn=lsn, meaning=meaning, remedy=remedy)


def _normal(file: str, meaning: str, *, offset: int | None = None, lsn: Lsn | None = None) -> Finding:
    return Finding(damage=False, file=file, offset=offset, lsn=lsn, meaning=meaning, remedy=NOTHING)
