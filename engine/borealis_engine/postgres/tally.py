"""What an instance counts over its whole process, for Prometheus: plain numbers, read when they are scraped."""

from collections import Counter

from borealis_engine.net.door import Drop
from borealis_engine.postgres.errors import Cause
from borealis_engine.postgres.latency import Latency


class Tally:
    """Counts of one process; they outlive each attachment."""

    def __init__(self) -> None:
        self.attachments = 0  # PostgreSQL came up on a fresh directory
        self.promotions = 0  # reigns begun: the role of writer reached
        self.reigns_ended: Counter[Cause] = Counter()
        self.latency = Latency()
        self.connections: dict[str, int] = {}  # clients' by state, at the last census
        self.dropped: Counter[Drop] = Counter()  # connections to the agent's ports, by reason
        self.commits_waiting = 0  # backends that wait for the volume, likewise

    def drop(self, reason: Drop) -> None:
        """Count a connection to the agent's ports that was dropped."""
        self.dropped[reason] += 1
