"""What a reader's agent concludes from what it sees: is it fit for clients, and does it follow? Pure.

The invariant: a reader that took all it was offered and still stays on an older timeline is not kept, for nothing but
a fresh attachment would bring it over; but silence of the storage nodes is no reason to throw a reader away.
"""

from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.history import epoch_of
from borealis_engine.postgres import timelines
from borealis_engine.postgres.errors import AttachFailed
from borealis_engine.postgres.feed import Feed
from borealis_engine.postgres.sql import Progress

FOLLOW_S: Final = 3.0  # a reader that is not on the newest timeline by then attaches again
HEARD_S: Final = 1.5  # nodes speak each second


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One look at a reader."""

    passed: Lsn  # end of what was fed
    whole: Lsn  # end of the last record that is known to be whole at or below D
    scanned: Lsn  # end of what was looked at for records
    epoch: Epoch  # that the volume is known to be in, with D
    durable: Lsn
    replay: Lsn
    timeline: Epoch  # that PostgreSQL streams
    newest: Epoch  # that it may know of
    heard_at: float  # when a storage node last spoke


def sight(feed: Feed, progress: Progress) -> Sight:
    """Look."""
    return Sight(
        passed=feed.passed,
        whole=feed.whole,
        scanned=feed.scanned,
        epoch=epoch_of(feed.history),
        durable=feed.durable,
        replay=progress.replay,
        timeline=feed.timeline,
        newest=timelines.newest(feed.named),
        heard_at=feed.heard_at,
    )


class Watch:
    """Remembers since when things are as they are; `durable` is D, of `epoch`, at the time of attaching.

    Caught up is who has replayed up to that D or, since D may lie inside a record of any size, to the last record end
    at or below it: which one that is, is known once all bytes below D were looked at. While a record that is whole on
    the volume is here in part only, nobody is. An election may cut D's record off: then the new epoch's D counts.
    """

    def __init__(self, durable: Lsn, epoch: Epoch) -> None:
        self.caught_up = False
        self._durable, self._epoch = durable, epoch
        self._progress = (Lsn(-1), Lsn(-1))
        self._astray_since: float | None = None

    def look(self, seen: Sight, *, now: float) -> None:
        """Conclude; AttachFailed if PostgreSQL has stayed on an older timeline for FOLLOW_S without taking any log."""
        grown = (seen.passed, seen.scanned) != self._progress
        self._progress = (seen.passed, seen.scanned)
        if seen.epoch > self._epoch:
            self._epoch, self._durable = seen.epoch, seen.durable
        to_last_end = seen.scanned >= self._durable and seen.replay >= seen.whole
        self.caught_up = self.caught_up or seen.replay >= self._durable or to_last_end
        if grown or seen.timeline == seen.newest or now - seen.heard_at > HEARD_S:
            self._astray_since = None
        elif self._astray_since is None:
            self._astray_since = now
        elif now - self._astray_since > FOLLOW_S:
            raise AttachFailed(f"PostgreSQL stays on timeline {seen.timeline}, not {seen.newest}")
