"""The errors of the network, by blame.

    NetError
    ├── TlsInvalid      our own certificates cannot be used
    ├── PeerRejected    the other side's certificate is of another cluster, or of a role that may not do this
    ├── Disconnected    the connection could not be made, broke, or fell silent
    └── RequestRefused  the node answered Refused; `refused` says why

Foreign errors (OSError, ssl.SSLError, TimeoutError) are mapped at the connection.
"""

from borealis_engine.core.messages import Refused


class NetError(Exception):
    """Any error of the network."""


class TlsInvalid(NetError):
    """Our own certificates cannot be used."""


class PeerRejected(NetError):
    """The other side's certificate is of another cluster, or of a role that may not do this."""


class Disconnected(NetError):
    """The connection could not be made, broke, or fell silent."""


class RequestRefused(NetError):
    """The node refused the request."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.reason.name.lower()}: {refused.message}")
        self.refused = refused
