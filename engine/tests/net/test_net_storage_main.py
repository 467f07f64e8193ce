"""The program: what it says of itself, and of an environment that is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from borealis_engine.contract import names
from borealis_engine.main.environment import ConfigInvalid, Environment
from borealis_engine.main.storage import read_configuration
from borealis_engine.net.errors import TlsInvalid
from borealis_engine.net.testing import StorageNodes
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.member import open_store


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    nodes = StorageNodes(tmp_path)
    member = nodes.config.members[0]
    environment = nodes.environment(names.ROLE_STORAGE, pod="pod", ip="127.0.0.1", zone="a", data=tmp_path / "data")
    return environment | {names.ENV_MEMBER_ID: member.id}


def run(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "borealis_engine.main.storage", *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30, check=False)


def test_help_shows_an_example(variables: dict[str, str]) -> None:
    shown = run(variables, "--help")
    assert shown.returncode == 0
    assert names.ENV_MEMBER_ID in shown.stdout
    assert "example:" in shown.stdout


def test_the_defaults_are_safe(variables: dict[str, str]) -> None:
    del variables[names.ENV_LEASE_SECONDS]
    configuration = read_configuration(Environment(variables))
    assert not configuration.storage.allow_format
    assert configuration.storage.lease_s == names.DEFAULT_LEASE_S


REQUIRED = (
    names.ENV_CLUSTER,
    names.ENV_CLUSTER_UID,
    names.ENV_MEMBER_ID,
    names.ENV_VOLUME,
    names.ENV_DATA_DIR,
    names.ENV_TLS_DIR,
    names.ENV_POD_NAME,
    names.ENV_POD_IP,
)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_variable_is_named_with_its_remedy(variables: dict[str, str], name: str) -> None:
    del variables[name]
    with pytest.raises(ConfigInvalid, match=f"{name} is not set: .+"):
        read_configuration(Environment(variables))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (names.ENV_VOLUME, "{}"),
        (names.ENV_CLUSTER_UID, "another"),
        (names.ENV_FORMAT, "yes"),
        (names.ENV_LEASE_SECONDS, "-1"),
        (names.ENV_DATA_DIR, "relative"),
    ],
)
def test_a_wrong_variable_is_named(variables: dict[str, str], name: str, value: str) -> None:
    variables[name] = value
    with pytest.raises(ConfigInvalid, match=name):
        read_configuration(Environment(variables))


def test_missing_certificates_are_named(variables: dict[str, str], tmp_path: Path) -> None:
    variables[names.ENV_TLS_DIR] = str(tmp_path)
    with pytest.raises(TlsInvalid, match=r"ca\.crt"):
        read_configuration(Environment(variables))


def test_the_disk_of_another_member_ends_the_program_with_a_clear_word(
    variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    uid = variables[names.ENV_CLUSTER_UID]
    disk = RealDisk(tmp_path / "data")
    open_store(disk, member="ffffffffffffffff", cluster_uid=uid, allow_format=True).journal.close()
    ended = run(variables)
    assert ended.returncode == 1
    assert "the disk belongs to member ffffffffffffffff" in ended.stderr
