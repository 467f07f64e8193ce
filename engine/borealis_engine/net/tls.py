"""Mutual TLS under the cluster's own CA: who the other side is, is in its certificate and nowhere else.

Invariant: no byte of a peer is looked at before its chain ended at the cluster's CA and its SAN URI named this
cluster and a role that may speak here. Host names are not checked: pods have addresses only.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from borealis_engine.contract.names import ROLE_INSTANCE, ROLE_OPERATOR, ROLE_STORAGE, role_uri
from borealis_engine.net.errors import PeerRejected, TlsInvalid
from borealis_engine.net.wire import Contexts, load_contexts

ROLES = (ROLE_STORAGE, ROLE_INSTANCE, ROLE_OPERATOR)
FILES = ("ca.crt", "tls.crt", "tls.key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Both sides' contexts of one identity."""

    cluster_uid: str
    client: ssl.SSLContext
    server: ssl.SSLContext
    wire: Contexts | None = None  # the same for the native library, where there is one

    def role_of(self, peer: ssl.SSLObject | ssl.SSLSocket | None) -> str:
        """Give the role of a peer whose handshake is done; PeerRejected if it has none in this cluster."""
        return self.role_among(_uris(peer))

    def role_among(self, uris: Sequence[str]) -> str:
        """Give the role that the URIs of a peer's certificate name; PeerRejected if they name none in this cluster."""
        for role in ROLES:
            if role_uri(self.cluster_uid, role) in uris:
                return role
        raise PeerRejected(f"the peer's certificate names {list(uris) or 'no role'}, not one of this cluster")

    def require(self, peer: ssl.SSLObject | ssl.SSLSocket | None, *roles: str) -> str:
        """Give the peer's role; PeerRejected unless it is one of `roles`."""
        return self.require_uris(_uris(peer), *roles)

    def require_uris(self, uris: Sequence[str], *roles: str) -> str:
        """Give the role that the URIs of a peer's certificate name; PeerRejected unless it is one of `roles`."""
        role = self.role_among(uris)
        if role not in roles:
            raise PeerRejected(f"a peer of role {role} may not speak here (only {', '.join(roles)})")
        return role


def load_tls(directory: Path, *, cluster_uid: str) -> Tls:
    """Load ca.crt, tls.crt and tls.key; TlsInvalid says which one cannot be used."""
    for name in FILES:
        if not (directory / name).is_file():
            raise TlsInvalid(f"{directory / name} is missing")
    return Tls(
        cluster_uid=cluster_uid,
        client=_context(ssl.PROTOCOL_TLS_CLIENT, directory),
        server=_context(ssl.PROTOCOL_TLS_SERVER, directory),
        wire=load_contexts(*(directory / name for name in FILES)),
    )


def _uris(peer: ssl.SSLObject | ssl.SSLSocket | None) -> list[str]:
    certificate = peer.getpeercert() if peer is not None else None
    names = certificate.get("subjectAltName", ()) if certificate else ()
    return [str(name[1]) for name in names if name[0] == "URI"]


def _context(protocol: int, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    ca, certificate, key = (directory / name for name in FILES)
    try:
        context.load_verify_locations(cafile=ca)
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise TlsInvalid(f"the certificates in {directory} cannot be used: {error}") from error
    return context
