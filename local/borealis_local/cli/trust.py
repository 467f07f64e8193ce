"""TLS towards the database: whether an endpoint offers it, and what a client needs to verify it.

Host names of Services mean nothing outside Kubernetes, so a client here is told the address (`hostaddr`) and the name
to check (`host`) apart, as libpq has it.
"""

import base64
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from borealis_local.cli.client import Client
from borealis_local.cli.clusters import Login
from borealis_local.errors import CommandError
from borealis_local.state import State

SSL_REQUEST: Final = struct.pack("!II", 8, 80877103)
TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What proves that a server is the cluster's own."""

    host: str  # name in the server's certificate
    authority: Path  # certificate of the cluster's CA

    def environment(self, login: Login) -> dict[str, str]:
        """Give libpq's variables for a verified connection."""
        return {
            "PGHOST": self.host,
            "PGHOSTADDR": login.host,
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": str(self.authority),
        }

    def uri(self, login: Login) -> str:
        """Give a URI for a verified connection, password included."""
        query = {"hostaddr": login.host, "sslmode": "verify-full", "sslrootcert": str(self.authority)}
        user, secret = quote(login.user, safe=""), quote(login.password, safe="")
        return f"postgresql://{user}:{secret}@{self.host}:{login.port}/{login.database}?{urlencode(query, safe='/')}"


def offers_tls(host: str, port: int) -> bool:
    """Whether a PostgreSQL server accepts TLS; CommandError if none answers."""
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
            connection.sendall(SSL_REQUEST)
            return connection.recv(1) == b"S"
    except OSError as error:
        raise CommandError(f"{host}:{port} does not answer ({error}): see `borealis local status`") from error


def find_trust(client: Client, state: State, cluster: Mapping[str, Any], login: Login, *, reader: bool) -> Trust | None:
    """Give what a client verifies the endpoint with, or None if it offers no TLS; writes the CA's certificate."""
    name, namespace = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    secret = client.find(f"/api/v1/namespaces/{namespace}/secrets/{name}-server-ca")
    if secret is None or "ca.crt" not in (secret.get("data") or {}) or not offers_tls(login.host, login.port):
        return None
    path = state.authority(namespace, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
    return Trust(host=f"{name}-ro.{namespace}.svc" if reader else f"{name}.{namespace}.svc", authority=path)
