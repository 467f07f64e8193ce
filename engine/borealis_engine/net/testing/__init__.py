"""A throw-away CA and six real storage nodes on loopback addresses, for the tests of this and other packages."""

from borealis_engine.net.testing.authority import make_certificates
from borealis_engine.net.testing.driver import WriterDriver
from borealis_engine.net.testing.nodes import StorageNodes

__all__ = ["StorageNodes", "WriterDriver", "make_certificates"]
