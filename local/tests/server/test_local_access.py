"""Who may talk to the API server, and what its files look like."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from borealis_local.cli import background
from borealis_local.cli.client import Client, RequestFailed
from borealis_local.errors import CommandError
from borealis_local.state import State, candidate_networks, default_directory, new_identity, read_identity


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    """A running server without operator."""
    root = Path(tempfile.mkdtemp(prefix="bls"))
    made = State(root=root)
    background.start(made, operator=False)
    yield made
    background.stop(made)
    shutil.rmtree(root, ignore_errors=True)


def test_only_the_token_opens(state: State) -> None:
    client = Client.of(state)
    assert client.request("GET", "/readyz") == "ok"
    stranger = Client(identity=new_identity(client.identity.network), context=client.context)
    with pytest.raises(RequestFailed) as refused:
        stranger.request("GET", "/api/v1/secrets")
    assert refused.value.code == 401


@pytest.mark.parametrize(
    ("name", "mode"),
    [("kubeconfig", 0o600), ("local.json", 0o600), ("tls", 0o700), ("logs", 0o700), ("p", 0o711), ("v", 0o711)],
)
def test_secrets_are_private_and_data_can_be_reached(state: State, name: str, mode: int) -> None:
    assert (state.root / name).stat().st_mode & 0o777 == mode


def test_the_database_is_private(state: State) -> None:
    files = list(state.root.glob("api.db*"))
    assert state.database in files
    assert {f.stat().st_mode & 0o777 for f in files} == {0o600}


def test_a_second_start_finds_the_first(state: State) -> None:
    before = background.running(state)
    background.start(state, operator=False)
    assert background.running(state) == before


def test_what_was_made_is_there_after_a_restart(state: State) -> None:
    client = Client.of(state)
    client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}, "default")
    assert background.stop(state)
    assert background.running(state) is None
    with pytest.raises(CommandError, match="not up"):
        client.request("GET", "/readyz")
    background.start(state, operator=False)
    found = Client.of(state).find("/api/v1/namespaces/default/configmaps/c")
    assert found is not None
    assert found["data"] == {"a": "b"}


def test_stopping_twice_is_no_error(tmp_path: Path) -> None:
    assert background.stop(State(root=tmp_path)) is False


def test_purge_spares_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(CommandError, match="not removed"):
        background.purge(State(root=tmp_path))
    assert (tmp_path / "precious").exists()


def test_a_directory_that_postgres_cannot_reach_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(CommandError, match="--state"):
        State(root=closed / "state").prepare()


@pytest.mark.parametrize(
    ("environ", "root", "expected"),
    [
        ({}, True, "/var/lib/borealis"),
        ({"HOME": "/home/x"}, False, "/home/x/.local/share/borealis"),
        ({"HOME": "/home/x", "XDG_DATA_HOME": "/data"}, False, "/data/borealis"),
        ({"BOREALIS_STATE": "/s"}, True, "/s"),
    ],
    ids=["root", "user", "xdg", "told"],
)
def test_default_directories(environ: dict[str, str], root: bool, expected: str) -> None:
    assert default_directory(environ, root=root) == Path(expected)


def test_states_have_networks_of_their_own(state: State, tmp_path: Path) -> None:
    identity = read_identity(state)
    assert identity is not None
    assert identity.network in candidate_networks(state)
    assert sorted(candidate_networks(State(root=tmp_path))) == sorted(candidate_networks(state))
