"""Of which cluster a line of log speaks, for whatever runs within its pass and does not say so itself."""

from contextvars import ContextVar
from typing import Final

CLUSTER: Final[ContextVar[str]] = ContextVar("cluster", default="")  # namespace/name
