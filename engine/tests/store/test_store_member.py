"""Whose disk it is, formatting, and image blobs."""

import hashlib
import random
from collections.abc import Callable

import pytest
from borealis_engine.contract.volume import Epoch, Generation, Lsn, Member, MemberId, VolumeConfig
from borealis_engine.core.effects import ImageExtent
from borealis_engine.core.journal import Promised
from borealis_engine.proto.image import ImageDescription, render_head
from borealis_engine.store.errors import DiskCorrupt, DiskFailed, DiskForeign, DiskLost, ImageUnknown
from borealis_engine.store.member import Store, open_store
from borealis_engine.store.testing import FakeDisk, PowerCut
from hypothesis import given, settings
from hypothesis import strategies as st

MEMBER, CLUSTER = "00112233aabbccdd", "cluster-uid"
START, END = Lsn(16 << 20), Lsn((16 << 20) + 1000)


def opened(disk: FakeDisk, *, allow_format: bool = False, member: str = MEMBER) -> Store:
    return open_store(disk, member=member, cluster_uid=CLUSTER, allow_format=allow_format)


def image_blob(seed: int = 1) -> tuple[str, bytes]:
    description = ImageDescription(system_identifier=seed, major=15, segment_size=1 << 24, wal_start=START, wal_end=END)
    blob = render_head(description) + random.Random(seed).randbytes(END - START) + b"archive" * 1000
    return hashlib.sha256(blob).hexdigest(), blob


def stored(store: Store, seed: int = 1) -> tuple[str, bytes]:
    image, blob = image_blob(seed)
    upload = store.images.begin(image, len(blob))
    for at in range(0, len(blob), 999):
        upload.add(at, blob[at : at + 999])
    assert upload.finish() == ImageExtent(start=START, end=END)
    return image, blob


def test_an_empty_disk_is_formatted_only_when_allowed() -> None:
    disk = FakeDisk()
    with pytest.raises(DiskLost):
        opened(disk)
    opened(disk, allow_format=True).journal.append([Promised(epoch=Epoch(2), owner="a")])
    assert opened(disk).journal.state.promised == 2
    assert opened(disk, allow_format=True).journal.state.promised == 2


def test_the_disk_of_another_is_refused() -> None:
    disk = FakeDisk()
    opened(disk, allow_format=True)
    with pytest.raises(DiskForeign, match=MEMBER):
        opened(disk, member="ffffffffffffffff", allow_format=True)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 12))
def test_formatting_survives_a_crash(seed: int, cut: int) -> None:
    disk = FakeDisk()
    disk.cut_after = cut
    try:
        opened(disk, allow_format=True)
    except PowerCut:
        disk = disk.crash(random.Random(seed))
    disk.cut_after = None
    opened(disk, allow_format=True).journal.append([Promised(epoch=Epoch(2), owner="a")])
    assert opened(disk.crash(random.Random(seed))).journal.state.promised == 2


def test_a_journal_without_identity_is_not_formatted_over() -> None:
    disk = FakeDisk()
    opened(disk, allow_format=True).journal.append([Promised(epoch=Epoch(2), owner="a")])
    disk.remove("identity.json")
    with pytest.raises(DiskCorrupt, match="missing"):
        opened(disk, allow_format=True)


def with_configuration(cluster: str = CLUSTER) -> FakeDisk:
    """A disk that has promised, with a configuration of this cluster."""
    disk, six = FakeDisk(), tuple(Member(id=MemberId(str(n)), name=f"s-{n}", zone="a", address="") for n in range(6))
    store = opened(disk, allow_format=True)
    store.journal.append([Promised(epoch=Epoch(2), owner="a")])
    config = VolumeConfig(cluster_uid=cluster, generation=Generation(1), revision=1, sealed=True, members=six)
    store.remember_volume(config.to_json())
    return disk


HARMS = {
    "lost": lambda disk: disk.remove("identity.json"),
    "empty": lambda disk: disk.create("identity.json"),
    "cut": lambda disk: disk.open("identity.json").truncate(50),
    "rotten": lambda disk: disk.damage("identity.json", 3),
    "unreadable": lambda disk: disk.open("identity.json").write((b"\xff" * 30,), 0),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=list(HARMS))
@pytest.mark.parametrize("allow_format", [False, True])
def test_an_identity_follows_from_configuration_and_journal(
    harm: Callable[[FakeDisk], None], allow_format: bool
) -> None:
    disk = with_configuration()
    harm(disk)
    store = opened(disk, allow_format=allow_format)
    assert (store.journal.state.promised, "identity.json" in store.mended) == (2, True)
    again = opened(disk.crash(random.Random(0)))
    assert (again.journal.state.promised, again.mended) == (2, "")


@pytest.mark.parametrize("harm", HARMS.values(), ids=list(HARMS))
def test_an_identity_is_not_guessed(harm: Callable[[FakeDisk], None]) -> None:
    for disk, member in ((with_configuration("another"), MEMBER), (with_configuration(), "ffffffffffffffff")):
        harm(disk)
        with pytest.raises(DiskCorrupt):
            opened(disk, member=member)
    disk = with_configuration()
    harm(disk)
    disk.damage("volume.json", 3)
    with pytest.raises(DiskCorrupt, match=r"identity\.json"):
        opened(disk)


def test_images_are_kept_by_digest_and_give_their_log() -> None:
    disk = FakeDisk()
    image, blob = stored(opened(disk, allow_format=True))
    images = opened(disk.crash(random.Random(0))).images
    assert images.extents == {image: ImageExtent(start=START, end=END)}
    assert b"".join(data for _, data in images.pieces(image)) == blob
    offset = blob.index(b"archive") - 1000
    assert images.log(image, Lsn(START + 10), Lsn(START + 30)) == blob[offset + 10 : offset + 30]
    with pytest.raises(ImageUnknown):
        images.log(image, START, Lsn(END + 1))


def test_wrong_uploads_leave_nothing() -> None:
    disk = FakeDisk()
    images = opened(disk, allow_format=True).images
    image, blob = image_blob()
    upload = images.begin(image, len(blob))
    upload.add(0, blob[:100])
    with pytest.raises(ImageUnknown):
        upload.add(50, blob[50:])
    upload.add(100, bytes(len(blob) - 100))
    with pytest.raises(ImageUnknown):
        upload.finish()
    upload.abandon()
    with pytest.raises(ImageUnknown):
        images.begin("../identity.json", 10)
    assert images.extents == {}
    assert disk.list("images") == []


def test_an_unfinished_upload_is_dropped_at_the_next_start() -> None:
    disk = FakeDisk()
    image, blob = image_blob()
    opened(disk, allow_format=True).images.begin(image, len(blob)).add(0, blob[:100])
    assert opened(disk).images.extents == {}
    assert disk.list("images") == []


def test_a_damaged_image_is_told_before_its_last_piece() -> None:
    disk = FakeDisk()
    image, _ = stored(opened(disk, allow_format=True))
    disk.damage(f"images/{image}", 2000)
    images = opened(disk).images
    with pytest.raises(DiskCorrupt, match="damaged"):
        list(images.pieces(image))


def test_a_full_disk_fails_an_upload() -> None:
    disk = FakeDisk()
    images = opened(disk, allow_format=True).images
    image, blob = image_blob()
    disk.capacity = disk.used() + 50
    with pytest.raises(DiskFailed, match="disk full"):
        images.begin(image, len(blob)).add(0, blob)
