"""Keys of Secrets and ConfigMaps as files of a pod: inside its directory, or nowhere."""

from pathlib import Path

import pytest
from borealis_local.errors import PodError
from borealis_local.node.volumes import write_files


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/outside", ".."])
def test_no_key_becomes_a_file_outside(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "volume"
    with pytest.raises(PodError, match="no name of a file"):
        write_files(inside, {"good": b"1", name: b"2"})
    assert [each.name for each in tmp_path.iterdir()] == ["volume"]
    assert not Path("/etc/outside").exists()


def test_keys_become_files_and_stale_ones_go(tmp_path: Path) -> None:
    write_files(tmp_path / "volume", {"a": b"1", "sub/b": b"2"})
    write_files(tmp_path / "volume", {"sub/b": b"3"})
    assert [each.name for each in (tmp_path / "volume").iterdir()] == ["sub"]
    assert (tmp_path / "volume/sub/b").read_bytes() == b"3"
