"""The order of durability of one storage node: what is queued, what is being synced, what is durable.

One sync is out at a time, and everything queued meanwhile goes into the next one. An answer is queued with the
records it depends on and comes out only when they are durable: that is how an ack cannot precede durability.
"""

from collections.abc import Callable
from typing import TypeAlias

from borealis_engine.core.effects import Persist
from borealis_engine.core.errors import Misuse
from borealis_engine.core.journal import DurableState, Logged, Record, apply

Answer: TypeAlias = Callable[[], None]


class Pipeline:
    """Records on their way to the disk. `seen` is the state with all of them, `held` with the durable ones."""

    __slots__ = ("_answers", "_flying", "_queue", "_token", "backlog", "held", "seen")

    def __init__(self, state: DurableState) -> None:
        self.held = state
        self.seen = state
        self.backlog = 0  # bytes of log queued or being synced
        self._queue: list[Record] = []
        self._answers: list[Answer] = []
        self._flying: tuple[DurableState, list[Answer], int] | None = None
        self._token = 0

    def add(self, record: Record) -> None:
        """Queue a record; SafetyViolated if it does not fit behind the others."""
        self.seen = apply(self.seen, record)
        self._queue.append(record)
        if isinstance(record, Logged):
            self.backlog += len(record.data)

    def then(self, answer: Answer) -> None:
        """Run `answer` once everything queued so far is durable: at once if it is already."""
        if self._queue:
            self._answers.append(answer)
        elif self._flying is not None:
            self._flying[1].append(answer)
        else:
            answer()

    def launch(self) -> Persist | None:
        """Give the next sync, if none is out and there is something to sync."""
        if self._flying is not None or not self._queue:
            return None
        self._token += 1
        size = sum(len(r.data) for r in self._queue if isinstance(r, Logged))
        self._flying = (self.seen, self._answers, size)
        persist = Persist(token=self._token, records=tuple(self._queue))
        self._queue, self._answers = [], []
        return persist

    def extend(self, size: int) -> DurableState | None:
        """Launch a sync of `size` bytes at the end of the log, if nothing else is under way; give the state with them.

        What `add` and `launch` do with a lone `Logged`, at a fraction of it: nearly every append finds the node so.
        """
        if self._flying is not None or self._queue:
            return None
        after = self.seen = self.held.extended(size)
        self._token += 1
        self._flying = (after, [], size)
        self.backlog += size
        return after

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and no sync is out."""
        return self._flying is None and not self._queue

    def advance(self, size: int) -> DurableState:
        """Take `size` bytes at the end of the log that are durable already; only while it is idle."""
        self.held = self.seen = self.held.extended(size)
        return self.held

    def extended(self) -> bool:
        """Take what `extend` launched as durable; False, and nothing done, if more came: use `persisted`."""
        if self._flying is None or self._flying[1] or self._queue:
            return False
        self.held, _, size = self._flying
        self._flying = None
        self.backlog -= size
        return True

    @property
    def token(self) -> int:
        """The latest sync."""
        return self._token

    def persisted(self, token: int) -> None:
        """Take the state that was synced as durable and give the answers that waited for it."""
        if self._flying is None or token != self._token:
            raise Misuse(f"persisted({token}) was not asked for")
        self.held, answers, size = self._flying
        self._flying = None
        self.backlog -= size
        for answer in answers:
            answer()
