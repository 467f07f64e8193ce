"""How far a reader's replay is behind the volume, in seconds of our own clock. Pure."""

from collections import deque
from typing import Final

from borealis_engine.contract.volume import Lsn

RESOLUTION_S: Final = 0.05
REMEMBERED: Final = 4096  # samples: older ones are forgotten, and the lag is then at least theirs


class Lag:
    """Remembers when each end of the log was first seen."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Lsn]] = deque(maxlen=REMEMBERED)

    def observe(self, *, target: Lsn, replay: Lsn, now: float) -> float:
        """Give the age of the oldest byte below `target`, the readable end of the log, that is not replayed; else 0."""
        last = self._seen[-1] if self._seen else (float("-inf"), Lsn(-1))
        if target > last[1] and (now - last[0] >= RESOLUTION_S or not self._seen):
            self._seen.append((now, target))
        while self._seen and self._seen[0][1] <= replay:
            self._seen.popleft()
        if replay >= target:
            return 0.0
        return max(0.0, now - self._seen[0][0]) if self._seen else 0.0
