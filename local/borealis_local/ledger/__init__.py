"""The ledger: numbered rows written through an endpoint, and the proof afterwards that none was lost.

`book` is the file of outcomes, `clients` write rows and keep the book, `audit` compares book and database, `cli` is the
command. An id is used once: a client that does not know an outcome goes on with the next id.
"""

from borealis_local.ledger.cli import app

__all__ = ["app"]
