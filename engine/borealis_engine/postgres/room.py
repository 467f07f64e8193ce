"""Keeps a writer from writing more log than the storage nodes have room for.

What PostgreSQL has written cannot be taken back, and its WAL waits on the instance's own disk while the volume takes no
more. So writing ends while there is room for what comes after the decision: that is told by how fast log came lately.
Transactions become read-only by default, and statements that go on writing are cancelled. Invariant: no commit that
is seen to wait for the volume is cancelled, for that would make it visible without a quorum. `Brake` is pure,
`RoomKeeper` acts.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from borealis_engine.contract.names import SUPERUSER
from borealis_engine.contract.volume import Lsn, parse_lsn
from borealis_engine.core.room import ALLOWANCE, MIB
from borealis_engine.postgres.errors import Cause
from borealis_engine.postgres.ownership import Ownership
from borealis_engine.postgres.sql import Door, Session, again_and_again, rows

log = logging.getLogger(__name__)
LOOK_S: Final = 0.1  # seconds between two looks
REACTION_S: Final = 1.5  # from a look to the moment when a statement that it cancels has ended, on a busy machine
HEADROOM: Final = 16 * MIB  # bytes kept for commits, aborts and checkpoints, however slowly log came
MEMORY_S: Final = 30.0  # the fastest growth is remembered for so long
BACK: Final = 1.5  # times what it needs is the room with which writing begins again
OLD_S: Final = 1.0  # a transaction that has run so long is cancelled; those that are shorter end by themselves
PATIENCE_S: Final = 2.0  # a session that goes on writing so long after it was cancelled is terminated
BEYOND_S: Final = 5.0  # log beyond all room for so long ends the leadership
FULL: Final = "the storage nodes have no room for more log: enlarge their claims"

# Who writes: an xid, or a vacuum. Not who waits for the volume, nor a statement that has only just begun: a COMMIT.
# `everybody`: log grows although all of those have ended, by something without an xid (messages, hint bits). It is one
# statement, for a backend that comes to its commit between being seen and being cancelled makes that visible.
_END_WRITERS: Final = """
    select key, case when key = any(%(spared)s) then 'spared'
        when key = any(%(stubborn)s) then 'terminated ' || pg_terminate_backend(pid)
        else 'cancelled ' || pg_cancel_backend(pid) end
    from (
        select pid, pid || ' ' || xact_start as key from pg_stat_activity
        where pid <> pg_backend_pid() and usename is distinct from %(agent)s
          and backend_type in ('client backend', 'autovacuum worker')
          and state = 'active' and wait_event is distinct from 'SyncRep'
          and xact_start < clock_timestamp() - %(old)s * interval '1 s'
          and query_start < clock_timestamp() - interval '0.3 s'
          and (%(everybody)s or backend_xid is not null or pid in (select pid from pg_stat_progress_vacuum))
    ) writers
"""


class Brake:
    """Decides from positions and times whether writing must end, and when it may go on."""

    def __init__(self) -> None:
        self.stopped = False
        self.stopped_at = 0.0
        self._seen: deque[tuple[float, Lsn]] = deque()  # looks of the last second
        self._fastest: deque[tuple[float, float]] = deque()  # (when, bytes per second), falling

    @property
    def need(self) -> int:
        """Return the room in bytes below which writing must end."""
        fastest = self._fastest[0][1] if self._fastest else 0.0
        return HEADROOM + int(REACTION_S * fastest)

    def look(self, now: float, end: Lsn, horizon: Lsn | None) -> bool:
        """Take the end of PostgreSQL's log and that of the members' room; return whether writing must not go on.

        None leaves it as it was: too few members have told.
        """
        self._measure(now, end)
        if horizon is None:
            return self.stopped
        left, need = horizon - end, self.need
        stopped = left < (BACK * need if self.stopped else need)
        if stopped and not self.stopped:
            self.stopped_at = now
        self.stopped = stopped
        return stopped

    def grows(self, now: float, end: Lsn) -> bool:
        """Return whether log still comes in bulk although writing has ended for a while."""
        recent = [lsn for at, lsn in self._seen if now - at <= 1.0]
        return self.stopped and now - self.stopped_at > 2 * OLD_S and end - min(recent, default=end) > MIB

    def _measure(self, now: float, end: Lsn) -> None:
        seen = self._seen
        seen.append((now, end))
        while len(seen) > 2 and now - seen[1][0] > 1.0:
            seen.popleft()
        at, lsn = seen[max(0, len(seen) - 3)]
        if now > at:
            rate = (end - lsn) / (now - at)
            while self._fastest and self._fastest[-1][1] <= rate:
                self._fastest.pop()
            self._fastest.append((now, rate))
        while self._fastest and now - self._fastest[0][0] > MEMORY_S:
            self._fastest.popleft()


class RoomKeeper:
    """Of one leadership: looks at the room until cancelled."""

    def __init__(self, door: Door, ownership: Ownership, start: Lsn, hold: Callable[[str], Awaitable[None]]) -> None:
        """`start` is where the leadership's log begins; `hold` makes the database read-only, or writable with ""."""
        self._door, self._ownership, self._start, self._hold = door, ownership, start, hold
        self._brake = Brake()
        self._held = False
        self._cancelled: dict[str, float] = {}  # pid and start of the transaction -> when
        self._beyond: float | None = None  # since when there is log beyond all room

    async def run(self) -> None:
        """Look again and again; a PostgreSQL that does not answer is asked anew."""
        try:
            await again_and_again(self._door, self._look, LOOK_S)
        except Exception as error:
            log.exception("nobody looks at the room any more")
            self._ownership.end(f"nobody looks at the room any more: {error}")

    async def _look(self, connection: Session) -> None:
        [(written,)] = await rows(connection, "select pg_current_wal_insert_lsn()::text")
        now, end, brake = asyncio.get_running_loop().time(), parse_lsn(str(written)), self._brake
        horizon = self._ownership.horizon
        stopped = brake.look(now, end, horizon)
        if stopped:
            await self._end_writers(connection, now, everybody=brake.grows(now, end))
        if stopped != self._held:
            left = (horizon or end) - end
            log.warning("%s", f"read-only: {FULL} ({left >> 20} MiB left)" if stopped else "there is room: writable")
            await self._hold(FULL if stopped else "")
            self._held = stopped
        self._end_leadership(now, stopped and horizon is not None and end > horizon)

    async def _end_writers(self, connection: Session, now: float, *, everybody: bool) -> None:
        spared = [key for key, at in self._cancelled.items() if now - at <= PATIENCE_S]
        given = {
            "agent": SUPERUSER,
            "old": OLD_S if now - self._brake.stopped_at < OLD_S else OLD_S / 2,
            "everybody": everybody,
            "spared": spared,
            "stubborn": [key for key in self._cancelled if key not in spared],
        }
        writers = {str(key): str(how) for key, how in await rows(connection, _END_WRITERS, given)}
        self._cancelled = {key: self._cancelled.get(key, now) for key in writers}
        for key, how in writers.items():
            if how != "spared":
                log.warning("session %s: %s, for it writes and %s", key.split()[0], how.split()[0], FULL)

    def _end_leadership(self, now: float, beyond: bool) -> None:
        """Give the leadership up if its log will not fit: what no quorum holds is void, and a reader takes over.

        Not if it has only just begun: its successor would have no more room than itself.
        """
        self._beyond = (self._beyond if self._beyond is not None else now) if beyond else None
        if self._beyond is None or now - self._beyond < BEYOND_S:
            return
        if self._ownership.durable - self._start > ALLOWANCE:
            self._ownership.end(f"log beyond all room of the storage nodes; {FULL}", Cause.NO_ROOM)
