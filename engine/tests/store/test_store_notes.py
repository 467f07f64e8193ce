"""The small files of a disk: a changed bit anywhere in them is noticed, and those of format 1 are written anew."""

import json
import random

import pytest
from borealis_engine.store.errors import DiskCorrupt, DiskForeign
from borealis_engine.store.member import read_identity, read_volume
from borealis_engine.store.notes import read_note, write_note
from borealis_engine.store.testing import FakeDisk

from .members import CLUSTER, MEMBER, VOLUME, filled
from .test_store_member import opened


def length(disk: FakeDisk, name: str) -> int:
    return disk.open(name).size()


@pytest.mark.parametrize("name", ["identity.json", "volume.json"])
@pytest.mark.parametrize("flip", [0x01, 0x04, 0x80])
def test_a_changed_bit_is_noticed_wherever_it_is(name: str, flip: int) -> None:
    disk = FakeDisk()
    filled(disk)
    for offset in range(length(disk, name)):
        disk.damage(name, offset, flip)
        with pytest.raises(DiskCorrupt):
            read_identity(disk) if name == "identity.json" else read_volume(disk)
        disk.damage(name, offset, flip)


@pytest.mark.parametrize("size", [0, 1, 20])
def test_one_that_was_cut_is_damaged(size: int) -> None:
    disk = FakeDisk()
    filled(disk)
    disk.open("volume.json").truncate(size)
    with pytest.raises(DiskCorrupt, match=r"volume.json"):
        read_volume(disk)


def test_a_sector_that_cannot_be_read_is_damage_not_a_failed_disk() -> None:
    disk = FakeDisk()
    write_note(disk, "note", "text")
    disk.spoil("note", 0)
    with pytest.raises(DiskCorrupt, match="cannot be read"):
        read_note(disk, "note")


def test_a_disk_of_format_1_is_read_once_and_written_anew() -> None:
    disk = FakeDisk()
    filled(disk)
    old = {"format": 1, "member": MEMBER, "clusterUid": CLUSTER}
    for name, text in (("identity.json", json.dumps(old) + "\n"), ("volume.json", VOLUME.to_json())):
        file = disk.create(name)
        file.write((text.encode(),), 0)
        file.sync()
    disk.sync_directory("")
    assert opened(disk.crash(random.Random(0)), allow_format=False).recall_volume() == VOLUME.to_json()
    after = disk
    opened(after, allow_format=False)
    assert read_identity(after).format == 2
    assert read_volume(after) == VOLUME.to_json()
    file = after.create("volume.json")
    file.write((VOLUME.to_json().encode(),), 0)
    with pytest.raises(DiskCorrupt):
        read_volume(after)


def test_another_members_disk_is_not_written_anew() -> None:
    disk = FakeDisk()
    filled(disk)
    file = disk.create("identity.json")
    file.write((json.dumps({"format": 1, "member": "someone", "clusterUid": CLUSTER}).encode(),), 0)
    with pytest.raises(DiskForeign):
        opened(disk, allow_format=False)
