"""How a reader follows: what its PostgreSQL says of replay, and what is concluded from it."""

import time
from typing import Final

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.history import epoch_of
from borealis_engine.postgres.feed import Feed
from borealis_engine.postgres.lag import Lag
from borealis_engine.postgres.sql import Progress, Session, progress
from borealis_engine.postgres.watch import Watch, sight

SILENCE_S: Final = 5.0  # without a word of any storage node the lag is unknown
UNKNOWN: Final = Progress(in_recovery=True, receive=Lsn(0), replay=Lsn(0), timeline=0)


class Following:
    """One attachment's progress; begun again with each."""

    def __init__(self) -> None:
        self.progress = UNKNOWN
        self.lag_seconds: float | None = None
        self._lag = Lag()
        self._watch: Watch | None = None

    @property
    def caught_up(self) -> bool:
        """Whether it has replayed what was durable when following began."""
        return self._watch is not None and self._watch.caught_up

    def begin(self, feed: Feed) -> None:
        """Begin to watch."""
        self._watch = Watch(feed.durable, epoch_of(feed.history))

    async def observe(self, connection: Session, feed: Feed) -> None:
        """Look once; AttachFailed if PostgreSQL does not follow."""
        self.progress, now = await progress(connection), time.monotonic()
        lag = self._lag.observe(target=feed.whole, replay=self.progress.replay, now=now)
        self.lag_seconds = None if now - feed.heard_at > SILENCE_S else lag
        if self._watch is not None:
            self._watch.look(sight(feed, self.progress), now=now)
