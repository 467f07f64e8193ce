"""Who is believed: the process that a pod was made for, and nobody else who happens to hold a certificate.

Addresses of pods are used again, and the cluster's authority has issued certificates that name no role, such as the one
that PostgreSQL shows to clients. Invariant: no byte of a request leaves before the peer's certificate has named the
role that was expected, and a status counts only if it is of the pod, and of the member, that was asked.
"""

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from borealis_engine.contract.names import ROLE_INSTANCE, ROLE_STORAGE, role_uri
from borealis_engine.contract.status import InstanceStatus, StorageStatus
from prometheus_client import Counter

from borealis_operator.observe.port import Credentials, Place

PodStatus = InstanceStatus | StorageStatus

DISBELIEVED: Final = Counter(
    "borealis_operator_disbelieved", "Answers of pods that were not believed, by what was wrong with them.", ["reason"]
)
for _reason in (CERTIFICATE := "certificate", IDENTITY := "identity"):
    DISBELIEVED.labels(_reason)  # there from the start, at zero


class Disbelieved(ValueError):
    """A status is not of the pod that was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """What a certificate must name."""

    uri: str

    def __call__(self, certificate: Any) -> None:
        named = [value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "URI"]
        if self.uri not in named:
            DISBELIEVED.labels(CERTIFICATE).inc()
            raise ssl.SSLCertVerificationError(f"the peer's certificate names {named or 'no role'}, not {self.uri}")


def make_context(credentials: Credentials, role: str) -> ssl.SSLContext:
    """Give the TLS context for peers of a role: our leaf, the cluster's authority, that role, no host names."""
    check = _Check(uri=role_uri(credentials.cluster_uid, role))

    class OfTheRole(ssl.SSLObject):
        """A connection whose handshake fails unless the peer's certificate names the role."""

        def do_handshake(self) -> None:
            super().do_handshake()
            check(self.getpeercert())

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.sslobject_class = OfTheRole
    context.load_verify_locations(cadata=credentials.ca)
    with tempfile.TemporaryDirectory() as folder:  # ssl reads keys from files alone; the folder is ours alone
        path = Path(folder, "operator.pem")
        path.write_text(credentials.certificate + credentials.key, encoding="ascii")
        context.load_cert_chain(path)
    return context


def parse_status(data: bytes, place: Place) -> PodStatus:
    """Read the status of a pod; ValueError if it is none, or another's."""
    if place.role not in (ROLE_STORAGE, ROLE_INSTANCE):
        raise Disbelieved(f"pod {place.name} is of no role that has a status")
    try:
        status = StorageStatus.from_json(data) if place.role == ROLE_STORAGE else InstanceStatus.from_json(data)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"no status: {error}") from error
    member = status.member if isinstance(status, StorageStatus) else ""
    if (status.name, member) != (place.name, place.member):
        DISBELIEVED.labels(IDENTITY).inc()
        told = f"{status.name} {member}".strip()
        raise Disbelieved(f"pod {f'{place.name} {place.member}'.strip()} was asked, and {told} answered")
    return status
