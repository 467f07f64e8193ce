"""The certificate that PostgreSQL shows to clients: copied from its Secret into the data directory.

The invariant: PostgreSQL is told of a certificate only if the copy loads together with its key; one that is missing or
broken means no TLS, and never a database that does not start.
"""

import logging
import ssl
from pathlib import Path
from typing import Final

from borealis_engine.postgres.settings import CERTIFICATE, KEY

log = logging.getLogger(__name__)
FILES: Final = (("tls.crt", CERTIFICATE), ("tls.key", KEY))


def install(source: Path | None, data: Path) -> bool:
    """Copy certificate and key into `data`, mode 0600; False, with a warning unless there is no source, if unusable."""
    if source is None:
        return False
    try:
        for name, target in FILES:
            copy = data / target
            copy.touch(mode=0o600)
            copy.write_bytes((source / name).read_bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(data / CERTIFICATE, data / KEY, password="")
    except (OSError, ssl.SSLError) as error:
        log.warning("clients cannot connect by TLS: %s in %s", error, source)
        for _, target in FILES:
            (data / target).unlink(missing_ok=True)
        return False
    return True
