"""What a storage node lends to the native library, and how it takes it back (net.lane): the short way of appends, in C.

Invariants: what went the short way is told to the core by the rules of `core.steady` before anything else touches
the node; an append that was being written when it was taken back is finished here, as if it had gone the way of
`Shell` from the start; and nothing is lent while a damaged file is mended, which writes through the page cache.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from borealis_engine import native
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.effects import Conn
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.journal import DurableState
from borealis_engine.net.clock import MOST_S
from borealis_engine.net.lane import Lane
from borealis_engine.net.meters import SYNC_SECONDS
from borealis_engine.net.wire import identity
from borealis_engine.net.wire_stream import WireStream
from borealis_engine.store.errors import StoreError
from borealis_engine.store.records import LOGGED

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell

HANG_S: Final = 0.1  # a connection whose reader is in the disk for longer gets another reader


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handed:
    """Appends of a connection that the library is writing, and that are to be finished here."""

    conn: Conn
    epoch: Epoch
    lsn: Lsn
    beat: int
    after: DurableState
    offset: int
    end: int
    batch: int
    since: float  # of time.monotonic


class Lending:
    """Who lends a shell's node; `lane` is the shell's lock."""

    def __init__(self, shell: "Shell", library: ctypes.CDLL) -> None:
        self._shell = shell
        self._handed: _Handed | None = None
        self._relieved = False  # somebody else reads the connection of what was taken over
        self._taken = False  # whether anything went the short way lately
        self._withheld = False
        self._member = identity(shell.node.member)
        self.lane = Lane(library, self, SYNC_SECONDS)

    def attach(self, conn: Conn, stream: WireStream) -> None:
        """Let the appends of a connection go the short way."""
        stream.attach(self.lane, conn, lambda: self._shell.moved(conn))

    # --- net.lane.Borrower, under the lock ------------------------------------------------------------------------

    def terms(self, terms: native.Terms) -> bool:
        """Say what an append must fulfil to go the short way."""
        node, store, holder = self._shell.node, self._shell.store, self._shell.node.steady.holder
        if holder is None or store is None or node.unfit or self._withheld:
            return False
        frontier = store.journal.frontier()
        if frontier is None:
            return False
        terms.conn, terms.epoch, terms.stream = holder
        terms.flush, terms.durable, terms.generation = node.durable.flush, node.steady.durable, node.config.generation
        terms.fd, terms.kind = frontier.descriptor, LOGGED
        terms.nonce = native.Nonce.from_buffer_copy(frontier.nonce)
        room = max(0, node.room.upto - node.durable.flush)
        terms.end, terms.limit, terms.batch = frontier.end, min(frontier.limit, frontier.end + room), frontier.batch
        terms.clock_read, terms.clock_base = self._shell.clock.read
        terms.clock_most, terms.member, terms.feeding = MOST_S, self._member, node.feeding
        return True

    def settle(self, deeds: native.Deeds) -> None:
        """Tell the node what went the short way, and take over what is still on it."""
        node, store = self._shell.node, self._shell.store
        if store is None:
            return
        try:
            if deeds.count:
                self._taken = True
                after = node.steady.advance(deeds.bytes, Lsn(deeds.durable), deeds.beat, deeds.heard)
                frames = [(Lsn(deeds.lsns[at]), deeds.offsets[at]) for at in range(deeds.points)]
                store.journal.advance(frames, after, end=deeds.end, batch=deeds.batch)
                self._shell.meters.syncs(deeds.syncs, deeds.bytes, deeds.sync_seconds)
            if deeds.handed:
                self._handed, self._relieved = self._take_over(deeds), False
        except (SafetyViolated, StoreError) as error:
            self._shell.failure = self._shell.failure or error
            node.failed(f"the short way: {error}")

    def _take_over(self, deeds: native.Deeds) -> _Handed:
        conn, epoch, beat = Conn(deeds.handed_conn), Epoch(deeds.handed_epoch), deeds.handed_beat
        lsn, size, durable = Lsn(deeds.handed_lsn), deeds.handed_size, Lsn(deeds.handed_durable)
        stream, heard = deeds.handed_stream, deeds.handed_heard
        after = self._shell.node.steady.extend(conn, epoch, stream, lsn, durable, beat, size, heard)
        if after is None:
            raise SafetyViolated(f"an append of {size} bytes at {lsn} is being written against the node's will")
        offset, end, batch = deeds.handed_offset, deeds.handed_end, deeds.handed_batch
        return _Handed(
            conn=conn,
            epoch=epoch,
            lsn=lsn,
            beat=beat,
            after=after,
            offset=offset,
            end=end,
            batch=batch,
            since=deeds.handed_since,
        )

    # --- from the shell -------------------------------------------------------------------------------------------

    def finish(self, conn: Conn, stream: WireStream) -> None:
        """What was taken over has an end: durable, or failed with `stream.error`."""
        try:
            self._finish(conn, stream)
        except Exception as surprise:
            self._shell.fail(surprise)
            raise

    def _finish(self, conn: Conn, stream: WireStream) -> None:
        shell, error = self._shell, stream.error
        with self.lane:
            handed, self._handed = self._handed, None
            store = shell.store
            shell.changed.notify_all()
            if handed is None or store is None:
                return  # the node is out of service
            if not error:
                frames = [(handed.lsn, handed.offset)]
                store.journal.advance(frames, handed.after, end=handed.end, batch=handed.batch)
                shell.meters.synced(handed.after.flush - handed.lsn, time.monotonic() - handed.since)
        if error:
            shell.fail(store.journal.fail(OSError(error, os.strerror(error))))
        else:
            shell.extended(conn, stream, handed.epoch, handed.after.flush, handed.beat)

    def look(self) -> None:
        """Hear what went the short way, write zeros ahead of it, and relieve a reader that hangs in the disk."""
        with self.lane:
            since = self.lane.syncing
            hangs = since and time.monotonic() - since > HANG_S
            if self._handed is not None and hangs and not self._relieved:
                self._relieved = True  # once: two readers of one connection would tear its frames apart
                self._shell.port.relieve(self._handed.conn, None)
        if self._taken:
            self._taken = False
            self._shell.fill_ahead()

    @contextmanager
    def withheld(self) -> Iterator[None]:
        """Lend nothing for the time of the block, and begin it when nothing is on the short way any more."""
        with self.lane:
            self._withheld = True
            self._shell.changed.wait_for(lambda: self._handed is None or self._shell.node.unfit)
        try:
            yield
        finally:
            with self.lane:
                self._withheld = False
