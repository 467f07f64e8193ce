"""The disk of one member as a whole: whose it is, its journal and its images.

The identity file is written last when a disk is formatted, so a disk with an identity is whole. One that is lost or
damaged is written anew if the configuration names the cluster and the journal the member. A disk with neither is
empty: it becomes this member only if formatting is allowed, since a member that lost its disk has broken promises
it does not remember, and must count for nothing.
"""

import json
from dataclasses import dataclass, replace

from borealis_engine.contract.volume import parse
from borealis_engine.core.journal import EMPTY
from borealis_engine.store import images, journal_file
from borealis_engine.store.disk import Disk
from borealis_engine.store.errors import DiskCorrupt, DiskForeign, DiskLost, disk_errors
from borealis_engine.store.images import Images
from borealis_engine.store.journal import Journal, Sizes
from borealis_engine.store.notes import read_note, write_note
from borealis_engine.store.recovery import DEFAULT_SIZES, create_journal, open_journal

FORMAT = 2
UNCHECKED = 1  # the format whose small files have no checksum: they are written anew when such a disk is opened
IDENTITY = "identity.json"
VOLUME = "volume.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose disk it is, and the format in which it is written."""

    format: int
    member: str
    cluster_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """What an opened disk holds."""

    disk: Disk
    journal: Journal
    images: Images
    mended: str = ""  # what ailed its identity, which was written anew

    @property
    def bytes_used(self) -> int:
        """Give the bytes that this member takes on its disk."""
        return self.journal.bytes_used + self.images.bytes_used

    def recall_volume(self) -> str:
        """Give the volume's configuration as last remembered; empty if none ever was, DiskCorrupt if it is damaged."""
        with disk_errors("reading the volume's configuration"):
            return read_volume(self.disk)

    def remember_volume(self, text: str) -> None:
        """Keep the volume's configuration durably, so that a restart does not fall back behind it."""
        with disk_errors("keeping the volume's configuration"):
            write_note(self.disk, VOLUME, text)


def open_store(disk: Disk, *, member: str, cluster_uid: str, allow_format: bool, sizes: Sizes = DEFAULT_SIZES) -> Store:
    """Open the disk of a member, formatting an empty one if allowed.

    DiskLost: it is empty and must not be formatted. DiskForeign: it is another's. DiskCorrupt, DiskFailed: it cannot be
    trusted.
    """
    with disk_errors("opening the disk"):
        damage = _admit(disk, member=member, cluster_uid=cluster_uid, allow_format=allow_format)
    journal = open_journal(disk, member=member, sizes=sizes)  # each file of which names its member
    if damage:
        with disk_errors("writing the identity anew"):
            _sign(disk, member=member, cluster_uid=cluster_uid)
    return Store(disk=disk, journal=journal, images=Images(disk), mended=damage)


def _admit(disk: Disk, *, member: str, cluster_uid: str, allow_format: bool) -> str:
    """Find the disk to be this member's, or make it so; give what ails its identity, if the rest says whose it is."""
    try:
        if IDENTITY in disk.list(""):
            _check_identity(disk, member=member, cluster_uid=cluster_uid)
        elif allow_format:
            _format(disk, member=member, cluster_uid=cluster_uid)
        elif disk.list(journal_file.FOLDER):
            raise DiskCorrupt(f"{IDENTITY} is missing, but there is a journal")
        else:
            raise DiskLost("the disk is empty although this member was formatted before")
    except DiskCorrupt as error:
        if not _is_of(disk, cluster_uid):
            raise
        return str(error)
    return ""


def _is_of(disk: Disk, cluster_uid: str) -> bool:
    """Whether the configuration on the disk is whole and of this cluster."""
    try:
        return parse(read_volume(disk)).cluster_uid == cluster_uid
    except (DiskCorrupt, ValueError):
        return False


def _format(disk: Disk, *, member: str, cluster_uid: str) -> None:
    """Make an empty disk this member's; begun again from the start if a crash interrupted it."""
    disk.make_folder(journal_file.FOLDER)
    disk.make_folder(images.FOLDER)
    left = [name for name in disk.list(journal_file.FOLDER) if name.endswith(journal_file.SUFFIX)]
    if left:
        journal = open_journal(disk, member=member)
        pristine = journal.state == EMPTY
        journal.close()
        if not pristine:
            raise DiskCorrupt(f"{IDENTITY} is missing, but the journal holds records")
    else:
        create_journal(disk, member=member)
    _sign(disk, member=member, cluster_uid=cluster_uid)


def _sign(disk: Disk, *, member: str, cluster_uid: str) -> None:
    write_note(disk, IDENTITY, json.dumps({"format": FORMAT, "member": member, "clusterUid": cluster_uid}))


def _check_identity(disk: Disk, *, member: str, cluster_uid: str) -> None:
    found = read_identity(disk)
    mine = Identity(format=FORMAT, member=member, cluster_uid=cluster_uid)
    if found == replace(mine, format=UNCHECKED):
        if text := read_volume(disk, unchecked=True):
            write_note(disk, VOLUME, text)
        _sign(disk, member=member, cluster_uid=cluster_uid)
    elif found != mine:
        raise DiskForeign(
            f"the disk belongs to member {found.member} of cluster {found.cluster_uid} (format {found.format}),"
            f" not to member {member} of cluster {cluster_uid} (format {FORMAT})"
        )


def read_identity(disk: Disk) -> Identity:
    """Read the identity file; DiskCorrupt if it says nothing, or is missing."""
    try:
        raw = json.loads(read_note(disk, IDENTITY, unchecked=True))
        found = Identity(format=raw["format"], member=raw["member"], cluster_uid=raw["clusterUid"])
    except (KeyError, TypeError, ValueError) as error:
        raise DiskCorrupt(f"{IDENTITY} is unreadable: {error!r}") from error
    if found.format == FORMAT:
        read_note(disk, IDENTITY)  # which has a checksum since that format
    return found


def read_volume(disk: Disk, *, unchecked: bool = False) -> str:
    """Give the volume's configuration as last remembered; empty if none ever was, DiskCorrupt if it is damaged."""
    return read_note(disk, VOLUME, unchecked=unchecked).strip() if VOLUME in disk.list("") else ""
