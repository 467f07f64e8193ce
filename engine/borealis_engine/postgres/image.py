"""Image 0: a fresh database made by initdb, packed into a blob that every instance of the volume starts from.

The invariant: the blob holds a cleanly shut down directory whose last record, a shutdown checkpoint, ends at
`wal_end`; it was made with the limits and with full_page_writes as they stay, so the first record of every later
timeline is END_OF_RECOVERY and no standby finds limits above its own.
"""

import gzip
import hashlib
import io
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from borealis_engine.contract.names import SUPERUSER
from borealis_engine.contract.volume import Lsn, parse_lsn
from borealis_engine.postgres.account import Account, make_private
from borealis_engine.postgres.binaries import Binaries
from borealis_engine.postgres.errors import AttachFailed, CommandFailed
from borealis_engine.postgres.process import run
from borealis_engine.postgres.settings import LIMITS, render_settings
from borealis_engine.proto import wal
from borealis_engine.proto.image import ImageDescription, ImageHead, ImageMalformed, parse_head, render_head

SEGMENT_MIB: Final = 4
LEFT_OUT: Final = frozenset({"postgresql.conf", "pg_hba.conf", "postmaster.pid", "postmaster.opts"})
_FIELDS: Final = {
    "system": "Database system identifier",
    "checkpoint": "Latest checkpoint location",
    "segment": "Bytes per WAL segment",
    "state": "Database cluster state",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A blob with what its head says, named by its digest."""

    digest: str  # hex SHA-256
    blob: bytes
    head: ImageHead

    @property
    def wal(self) -> bytes:
        """The log of epoch 1: [wal_start, wal_end)."""
        return self.blob[self.head.wal_offset : self.head.archive_offset]


def open_image(blob: bytes, digest: str) -> Image:
    """Take a blob that was fetched; AttachFailed if it is not what its digest names."""
    if hashlib.sha256(blob).hexdigest() != digest:
        raise AttachFailed(f"the image that came is not {digest}")
    try:
        return Image(digest=digest, blob=blob, head=parse_head(blob))
    except ImageMalformed as error:
        raise AttachFailed(f"image {digest}: {error}") from error


def make_image(binaries: Binaries, scratch: Path, account: Account | None) -> Image:
    """Run initdb in `scratch` (made, and removed again) and pack what it made. Takes a second or two."""
    data = scratch / "data"
    shutil.rmtree(scratch, ignore_errors=True)
    make_private(scratch, account)
    try:
        run_initdb(binaries, data, account)
        _settle(binaries, data, account)
        return pack_image(binaries, data, account)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def pack_image(binaries: Binaries, data: Path, account: Account | None) -> Image:
    """Pack a cleanly shut down directory."""
    control = _control(binaries, data, account)
    if control["state"] != "shut down":
        raise CommandFailed(f"{data} is {control['state']!r}, not shut down")
    segment_size, checkpoint = int(control["segment"]), parse_lsn(control["checkpoint"])
    start = Lsn(checkpoint // segment_size * segment_size)
    log = b"".join(
        path.read_bytes() for path in sorted((data / "pg_wal").glob("00000001????????????????"))
        if path.name >= segment_name(1, start, segment_size)
    )  # fmt: skip
    last = next(wal.records(log, start, checkpoint, segment_size), None)
    if last is None:
        raise CommandFailed(f"the log of {data} does not hold its last checkpoint")
    end = last.end
    description = ImageDescription(
        system_identifier=int(control["system"]),
        major=binaries.major,
        segment_size=segment_size,
        wal_start=start,
        wal_end=end,
    )
    blob = render_head(description) + log[: end - start] + _archive(data)
    return Image(digest=hashlib.sha256(blob).hexdigest(), blob=blob, head=parse_head(blob))


def unpack(image: Image, data: Path) -> None:
    """Lay the archive out under `data`, which exists and is empty."""
    stream = io.BytesIO(image.blob[image.head.archive_offset :])
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as archive:
            archive.extractall(data, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(data)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise AttachFailed(f"image {image.digest}: {error}") from error


def segment_name(timeline: int, lsn: int, segment_size: int) -> str:
    """Give the name of the WAL segment file that holds `lsn` (access/xlog_internal.h, XLogFileName)."""
    number, per_id = lsn // segment_size, (1 << 32) // segment_size
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def run_initdb(binaries: Binaries, data: Path, account: Account | None) -> None:
    """Make a fresh database cluster; what it writes into postgresql.conf is `settings.INITDB`, or Borealis's own."""
    command = [
        binaries.path("initdb"), "--pgdata", str(data), "--username", SUPERUSER, "--auth", "trust",
        "--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--wal-segsize", str(SEGMENT_MIB),
        "--no-sync", "--no-instructions",
    ]  # fmt: skip
    run(command, account, cwd=data.parent)


def _settle(binaries: Binaries, data: Path, account: Account | None) -> None:
    """Run and shut it down once with the limits and without full pages, as every instance runs."""
    settings = {**LIMITS, "full_page_writes": "off", "fsync": "off", "min_wal_size": f"{2 * SEGMENT_MIB}MB"}
    (data / "postgresql.conf").write_text(render_settings(settings))
    run([binaries.path("postgres"), "--single", "-D", str(data), "template1"], account, cwd=data.parent)


def _control(binaries: Binaries, data: Path, account: Account | None) -> dict[str, str]:
    text = run([binaries.path("pg_controldata"), str(data)], account, cwd=data.parent)
    found = {}
    for key, label in _FIELDS.items():
        match = re.search(rf"^{label}:\s*(.+?)\s*$", text, re.M)
        if match is None:
            raise CommandFailed(f"pg_controldata does not tell the {label.lower()}")
        found[key] = match[1]
    return found


def _archive(data: Path) -> bytes:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        archive.add(data, arcname=".", filter=_wanted)
    return packed.getvalue()


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = member.name.removeprefix("./")
    if path in LEFT_OUT or (path.startswith("pg_wal/") and member.isfile()):
        return None
    member.uid = member.gid = 0
    member.mtime = 0  # a fraction of a second would cost each file a header of its own, to write and to read
    member.uname = member.gname = ""
    return member
