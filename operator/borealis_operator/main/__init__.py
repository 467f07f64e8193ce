"""`borealis-operator`: options, logs, the Lease, and the life of the process."""

from borealis_operator.main.command import main

__all__ = ["main"]
