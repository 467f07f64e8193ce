"""When the first of a cluster's certificates ends: nobody renews them yet, so somebody must see it come."""

from collections.abc import Mapping
from functools import lru_cache

from cryptography import x509

from borealis_operator.plan.facts import Manifest
from borealis_operator.render.secrets import read_secret


def first_expiry(objects: Mapping[tuple[str, str], Manifest]) -> float | None:
    """Give seconds since 1970 at which the first certificate in the cluster's Secrets ends; None if there is none."""
    found = [
        _ends(read_secret(live, "tls.crt"))
        for (kind, _), live in objects.items()
        if kind == "Secret" and "tls.crt" in (live.get("data") or {})
    ]
    return min((at for at in found if at is not None), default=None)


@lru_cache(maxsize=4096)
def _ends(certificate: str) -> float | None:
    try:
        return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()
    except ValueError:
        return None
