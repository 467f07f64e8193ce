"""When log that waits in the log writer leaves for the volume: group commit for many clients. Sans-IO.

Each piece of log costs six storage nodes a write and a flush, so commits of many clients had better share one. What
comes while a piece is under way gathers. When that has landed it goes on gathering until as many wait as left with the
piece before: those that it released are on their way back, and two groups of about half the clients take turns. On a
crowded machine (postgres.crowd) it goes on until twice as many wait, for processors are short there and waiting takes
none; but not for more than lately left together, for there may be no more clients. It ends after three of a piece's
usual flights, at most HOLD_S. A lone client waits for nobody: one left, and one has come.
"""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from borealis_engine import native
from borealis_engine.contract.volume import Lsn

HOLD_S: Final = 0.005  # seconds that log waits for company at most, with nothing under way
FLIGHTS: Final = 3  # and the same in flights
SINGLES: Final = 2  # pieces of one commit each that may be under way together: two or three clients need not take turns
FADE: Final = 0.99  # of the most that left together is believed after one more piece
SHARE: Final = 0.1  # of the latest flight in the mean


class Gathering:
    """Pieces that came from PostgreSQL and wait, and pieces that left and are not durable yet."""

    def __init__(self, crowded: Callable[[], bool] = lambda: False) -> None:
        """`crowded` says whether processors are short."""
        self._crowded = crowded
        self._under_way: deque[tuple[Lsn, float]] = deque()  # (end, left at)
        self._waiting = 0  # pieces that came since the last one left
        self._left = 0  # pieces that left with it
        self._most = 0.0  # that left together, lately
        self._flight = 0.0  # mean seconds until a piece is durable
        self._until = 0.0

    def came(self) -> None:
        """A piece came from PostgreSQL."""
        self._waiting += 1

    def left(self, end: Lsn, now: float) -> None:
        """All that waits left as one piece that ends at `end`."""
        self._under_way.append((end, now))
        self._most = max(self._waiting, FADE * self._most)
        self._left, self._waiting = self._waiting, 0

    def landed(self, durable: Lsn, now: float) -> None:
        """Everything below `durable` is durable."""
        if not self._under_way or self._under_way[0][0] > durable:
            return
        while self._under_way and self._under_way[0][0] <= durable:
            took = now - self._under_way.popleft()[1]
            self._flight += SHARE * (took - self._flight)
        self._until = now + min(FLIGHTS * self._flight, HOLD_S)

    def describe(self, state: native.ReignState) -> None:
        """Tell the native library, which goes on by the same rules."""
        state.waiting, state.left, state.most = self._waiting, self._left, self._most
        state.flight, state.until = self._flight, self._until
        state.under_way, state.crowded = len(self._under_way), self._crowded()
        for at, (end, left_at) in enumerate(islice(self._under_way, native.REIGN_UNDER_WAY)):
            state.ends[at], state.left_at[at] = end, left_at

    def take_back(self, state: native.ReignState) -> None:
        """Go on where the library has come to."""
        self._waiting, self._left, self._most = state.waiting, state.left, state.most
        self._flight, self._until = state.flight, state.until
        self._under_way = deque((Lsn(end), at) for end, at in state.pieces)

    def hold(self, now: float) -> float | None:
        """Seconds until what waits should leave, 0 for now; None: when something has landed."""
        if self._under_way and (self._left > 1 or len(self._under_way) >= SINGLES):
            return None
        company = max(self._left, min(2 * self._left, self._most)) if self._crowded() else self._left
        return 0.0 if self._waiting >= company else max(0.0, self._until - now)
