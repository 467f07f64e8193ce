"""What a reader's agent concludes from what it sees: is it fit for clients, and does it follow? Pure.

The invariant: a reader that took all it was offered and still stays on an older timeline is not kept, for nothing but
a fresh attachment would bring it over; but silence of the storage nodes is no reason to throw a reader away.
"""

from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.postgres import timelines
from borealis_engine.postgres.errors import AttachFailed
from borealis_engine.postgres.feed import Feed
from borealis_engine.postgres.sql import Progress

FOLLOW_S: Final = 3.0  # a reader that is not on the newest timeline by then attaches again
HEARD_S: Final = 1.5  # nodes speak each second
SETTLED_S: Final = 2.0  # D may lie inside a record, so the end that it names may never be reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One look at a reader."""

    passed: Lsn  # end of the last record fed
    replay: Lsn
    timeline: Epoch  # that PostgreSQL streams
    newest: Epoch  # that it may know of
    heard_at: float  # when a storage node last spoke


def sight(feed: Feed, progress: Progress) -> Sight:
    """Look."""
    return Sight(
        passed=feed.passed,
        replay=progress.replay,
        timeline=feed.timeline,
        newest=timelines.newest(feed.named),
        heard_at=feed.heard_at,
    )


class Watch:
    """Remembers since when things are as they are; `durable` is D at the time of attaching."""

    def __init__(self, durable: Lsn) -> None:
        self.caught_up = False
        self._durable = durable
        self._passed, self._grown_at = Lsn(-1), 0.0
        self._astray_since: float | None = None

    def look(self, seen: Sight, *, now: float) -> None:
        """Conclude; AttachFailed if PostgreSQL has stayed on an older timeline for FOLLOW_S without taking any log."""
        grown = seen.passed != self._passed
        if grown:
            self._passed, self._grown_at = seen.passed, now
        settled = now - self._grown_at > SETTLED_S and seen.replay >= seen.passed > 0
        self.caught_up = self.caught_up or seen.replay >= self._durable or settled
        if grown or seen.timeline == seen.newest or now - seen.heard_at > HEARD_S:
            self._astray_since = None
        elif self._astray_since is None:
            self._astray_since = now
        elif now - self._astray_since > FOLLOW_S:
            raise AttachFailed(f"PostgreSQL stays on timeline {seen.timeline}, not {seen.newest}")
