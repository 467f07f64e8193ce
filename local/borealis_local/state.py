"""The state directory: where everything of one local Kubernetes lies, and who may read it.

The directory and what pods mount can be traversed by anyone, so that PostgreSQL's user reaches its data; what holds a
secret is for its owner alone. Names are short because unix sockets lie beneath.
"""

import base64
import json
import os
import secrets
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from borealis_local import tls
from borealis_local.errors import CommandError

API_PORT = 6443
ENV_STATE = "BOREALIS_STATE"
FIRST_NETWORK, NETWORKS = 64, 128


def default_directory(environ: Mapping[str, str], *, root: bool) -> Path:
    """Give the state directory: BOREALIS_STATE, else root's or the user's default."""
    if told := environ.get(ENV_STATE):
        return Path(told)
    if root:
        return Path("/var/lib/borealis")
    base = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "/"), ".local/share")
    return Path(base) / "borealis"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Paths beneath one state directory."""

    root: Path

    @property
    def database(self) -> Path:
        """Objects of the API server."""
        return self.root / "api.db"

    @property
    def kubeconfig(self) -> Path:
        """How clients reach the API server."""
        return self.root / "kubeconfig"

    @property
    def tls(self) -> Path:
        """Certificate and key of the API server."""
        return self.root / "tls"

    @property
    def pods(self) -> Path:
        """A directory for each pod: emptyDirs, secrets."""
        return self.root / "p"

    @property
    def volumes(self) -> Path:
        """A directory for each persistent volume."""
        return self.root / "v"

    @property
    def logs(self) -> Path:
        """Logs of pods, operator and supervisor."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Locked while a supervisor runs; holds its process id."""
        return self.root / "supervisor.lock"

    @property
    def identity(self) -> Path:
        """Network and token, the same for the life of the state."""
        return self.root / "local.json"

    def prepare(self) -> None:
        """Make the directories; CommandError if PostgreSQL's user could not pass through a parent."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        for path, mode in ((self.tls, 0o700), (self.pods, 0o711), (self.volumes, 0o711), (self.logs, 0o700)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        if os.geteuid() == 0:
            _check_passable(self.root)


def _check_passable(path: Path) -> None:
    for parent in (path, *path.resolve().parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            raise CommandError(
                f"PostgreSQL's user cannot pass through {parent} (mode {stat.filemode(parent.stat().st_mode)}): "
                f"choose another directory with --state, or `chmod o+x {parent}`"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What stays the same over restarts: the 127.x network of this state, and the token."""

    network: int  # second number of its addresses
    token: str

    @property
    def address(self) -> str:
        """Address of the API server; who listens there owns the network."""
        return f"127.{self.network}.0.1"

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{API_PORT}"


def read_identity(state: State) -> Identity | None:
    """Give the identity of a state that was used before."""
    try:
        raw = json.loads(state.identity.read_text())
    except FileNotFoundError:
        return None
    return Identity(network=int(raw["network"]), token=str(raw["token"]))


def candidate_networks(state: State) -> list[int]:
    """Give the networks to try for a new state, in an order of its own so that states seldom meet."""
    start = zlib.crc32(str(state.root.resolve()).encode()) % NETWORKS
    return [FIRST_NETWORK + (start + i) % NETWORKS for i in range(NETWORKS)]


def new_identity(network: int) -> Identity:
    """Make an identity on a network that is free."""
    return Identity(network=network, token=secrets.token_urlsafe(32))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone reads, all or nothing."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)
    temporary.replace(path)


def write_identity(state: State, identity: Identity) -> None:
    """Keep the identity, and write certificate and kubeconfig that follow from it."""
    write_private(state.identity, json.dumps({"network": identity.network, "token": identity.token}).encode())
    if not (state.tls / "tls.crt").exists():
        made = tls.self_signed(identity.address)
        write_private(state.tls / "tls.key", made.key)
        write_private(state.tls / "tls.crt", made.certificate)
    authority = (state.tls / "tls.crt").read_bytes()
    write_private(state.kubeconfig, yaml.safe_dump(kubeconfig(identity, authority), sort_keys=False).encode())


def kubeconfig(identity: Identity, authority: bytes) -> dict[str, Any]:
    """Give the kubeconfig of a local Kubernetes."""
    name = "borealis-local"
    data = base64.b64encode(authority).decode()
    cluster = {"server": identity.server, "certificate-authority-data": data}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": identity.token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
