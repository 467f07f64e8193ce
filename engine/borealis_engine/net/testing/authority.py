"""A throw-away CA with one leaf certificate for each role, as the operator makes them for a cluster.

And one for PostgreSQL's clients, which bears host names and no role.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from borealis_engine.contract.names import role_uri
from borealis_engine.net.tls import ROLES

SERVER = "server"  # the folder of the leaf for PostgreSQL's clients
HOST = "demo.default.svc"  # its name
_DAY = timedelta(days=1)


def make_certificates(directory: Path, *, cluster_uid: str) -> dict[str, Path]:
    """Write `<directory>/<role>/{ca.crt,tls.crt,tls.key}` for each role and SERVER under a new CA; give the folders."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate(f"ca of {cluster_uid}", ca_key, None, ca_key, bears=())
    leaves: dict[str, x509.GeneralName] = {
        role: x509.UniformResourceIdentifier(role_uri(cluster_uid, role)) for role in ROLES
    }
    leaves[SERVER] = x509.DNSName(HOST)
    folders = {}
    for name, borne in leaves.items():
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate(name, key, ca, ca_key, bears=(borne,))
        folders[name] = _write(directory / name, ca, leaf, key)
    return folders


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    bears: Sequence[x509.GeneralName],
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(x509.BasicConstraints(ca=not bears, path_length=None), critical=True)
    )
    if bears:
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False).add_extension(
            x509.SubjectAlternativeName(list(bears)), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _write(folder: Path, ca: x509.Certificate, leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "tls.crt").write_bytes(leaf.public_bytes(pem))
    encoded = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(encoded)
    return folder
