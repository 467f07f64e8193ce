"""Errors of the codecs, by blame.

ProtocolError            the peer (or the wire) sent what the protocol does not allow
└── FrameCorrupt         a frame's checksum does not match its bytes
"""


class ProtocolError(Exception):
    """The peer sent bytes that no correct peer sends; the connection is of no further use."""


class FrameCorrupt(ProtocolError):
    """A frame's CRC-32C does not match: bytes changed on the way."""
