"""Where a container's files really are: mount paths become directories of the state directory.

A process has no mount namespace here, so every place where a mount path can reach it (arguments, values of
environment variables, probe commands) is rewritten. A path matches as a whole or as a prefix before `/`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_BEFORE = r"(?<![\w./-])"
_AFTER = r"(?=$|[/\s:,;\"')\]}])"


class Rewriter:
    """Replaces mount paths, the longest first."""

    def __init__(self, mounts: Mapping[str, Path]) -> None:
        """Map each mountPath to its directory."""
        self._mounts = {k.rstrip("/"): str(v) for k, v in mounts.items()}
        names = sorted(self._mounts, key=len, reverse=True)
        joined = "|".join(re.escape(n) for n in names)
        self._pattern = re.compile(f"{_BEFORE}({joined}){_AFTER}") if names else None

    def text(self, value: str) -> str:
        """Give a text with its mount paths replaced."""
        if self._pattern is None:
            return value
        return self._pattern.sub(lambda m: self._mounts[m[1]], value)

    def texts(self, values: Sequence[str]) -> list[str]:
        """Give a list of texts with their mount paths replaced."""
        return [self.text(v) for v in values]
