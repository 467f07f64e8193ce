"""The shell of one storage node: core.node.Node between the sockets and the disk.

It gives messages and times in and carries effects out in order. Invariant: `persisted` is told only after the
journal's append has returned, and any failure of the disk takes the node out of service before anything else is
answered.
"""

import asyncio
import itertools
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, assert_never

from borealis_engine.contract.names import ROLE_INSTANCE, ROLE_STORAGE
from borealis_engine.contract.volume import VolumeConfig
from borealis_engine.core.effects import (
    CancelPull,
    Close,
    Conn,
    LoadImage,
    NodeEffect,
    OutOfService,
    Persist,
    Pull,
    PullImage,
    Readable,
    Send,
    ServeFeed,
    ServeImage,
    ServeLog,
    StoreImage,
    Truncated,
)
from borealis_engine.core.messages import Envelope, Refused
from borealis_engine.core.node import Node
from borealis_engine.net.channel import Channel, Endpoint
from borealis_engine.net.clock import StallFreeClock
from borealis_engine.net.disk_thread import DiskThread
from borealis_engine.net.intake import Intake
from borealis_engine.net.meters import Meters
from borealis_engine.net.serving import Serving
from borealis_engine.net.tls import Tls
from borealis_engine.store.errors import StoreError
from borealis_engine.store.member import Store

log = logging.getLogger(__name__)

BACKLOG_HIGH = 32 << 20  # bytes waiting for the disk before nobody is read any more
BACKLOG_LOW = 8 << 20


class Shell:
    """Runs a node; `store` is None for a disk that cannot be used."""

    def __init__(self, *, node: Node, store: Store | None, tls: Tls, clock: StallFreeClock, meters: Meters) -> None:
        self.node = node
        self.store = store
        self.clock = clock
        self.meters = meters
        self.endpoint = Endpoint(tls=tls, identity=node.member, generation=lambda: node.config.generation)
        self._disk: DiskThread | None = None
        self.blob_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="blob")
        self.read_threads = ThreadPoolExecutor(max_workers=3, thread_name_prefix="read")
        self.readable_changed = asyncio.Event()
        self.drained = asyncio.Event()
        self.cuts = 0  # truncations so far
        self._channels: dict[Conn, Channel] = {}
        self._conns: dict[Channel, Conn] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None  # what the timer is set to
        self._filling = False
        self._paused: set[Channel] = set()
        self._serving = Serving(self)
        self._intake = Intake(self)

    def start(self) -> None:
        """Begin, in a running loop."""
        if self.store is not None:
            self._disk = DiskThread(self.store.journal, asyncio.get_running_loop())
        self.carry_out()

    # --- connections ---------------------------------------------------------------------------------------------

    def accept(self) -> Channel:
        """Make the protocol of an incoming connection."""
        return Channel(self.endpoint, self, roles=(ROLE_INSTANCE, ROLE_STORAGE))

    def opened(self, channel: Channel, role: str) -> None:
        """Number the connection."""
        conn = Conn(next(self._numbers))
        self._channels[conn], self._conns[channel] = channel, conn

    def received(self, channel: Channel, envelope: Envelope) -> None:
        """Give a message to the node."""
        self.node.receive(self._conns[channel], envelope, self.clock.now())
        self.carry_out()
        if self.node.backlog > BACKLOG_HIGH:
            channel.pause_reading()
            self._paused.add(channel)

    def closed(self, channel: Channel, reason: str) -> None:
        """Tell the node."""
        conn = self._conns.pop(channel)
        del self._channels[conn]
        self._paused.discard(channel)
        self._serving.closed(conn)
        self._intake.closed(conn)
        self.node.closed(conn)
        self.carry_out()

    def channel(self, conn: Conn) -> Channel | None:
        """Give the channel of a connection, None once it is closed."""
        return self._channels.get(conn)

    # --- the node's effects --------------------------------------------------------------------------------------

    def configure(self, config: VolumeConfig) -> VolumeConfig:
        """Adopt a higher configuration of this cluster, durably; give the one in force."""
        known = self.node.config
        if config.cluster_uid == known.cluster_uid and config.version > known.version:
            if self.store is not None:
                try:
                    self.store.remember_volume(config.to_json())
                except StoreError as error:
                    self.fail(error)
            self.node.configure(config)
            log.info(
                "adopted a volume configuration", extra={"generation": config.generation, "revision": config.revision}
            )
            self.carry_out()
        return self.node.config

    def carry_out(self) -> None:
        """Carry out what the node asks for, and set the timer for what is due later."""
        while effects := self.node.effects():
            for effect in effects:
                self._carry_out(effect)
        deadline = self.node.next_deadline()
        if deadline != self._deadline:
            self._set_timer(deadline)

    def _set_timer(self, deadline: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._deadline = deadline
        if deadline is not None:
            delay = max(0.001, deadline - self.clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _carry_out(self, effect: NodeEffect) -> None:
        match effect:
            case Persist():
                self._persist(effect)
            case Send(conn=conn, message=message):
                if isinstance(message, Refused):
                    self.meters.refused(message.reason)
                if conn in self._channels:
                    self._channels[conn].send(message)
            case Close(conn=conn, reason=reason):
                if conn in self._channels:
                    log.warning("closing a connection: %s", reason)
                    self._channels[conn].close(reason)
            case ServeLog() | ServeFeed() | ServeImage():
                self._serving.serve(effect)
            case StoreImage() | PullImage() | LoadImage() | Pull() | CancelPull():
                self._intake.take(effect)
            case Readable():
                self._wake_feeds()
            case Truncated(end=end):
                self.cuts += 1
                log.info("truncated the log", extra={"lsn": end, "epoch": self.node.durable.promised})
                self._serving.truncated(end)
            case OutOfService(reason=reason):
                log.error("out of service: %s", reason)
                self._wake_feeds()  # they close: a reader must not take this node's last D for the volume's
            case _:
                assert_never(effect)

    def _wake_feeds(self) -> None:
        self.readable_changed.set()
        self.readable_changed = asyncio.Event()

    def _tick(self) -> None:
        self._timer, self._deadline = None, None
        self.node.tick(self.clock.now())
        self.carry_out()

    # --- the disk ------------------------------------------------------------------------------------------------

    def _persist(self, persist: Persist) -> None:
        if self._disk is None:
            return
        before = self.node.durable

        def done(failure: Exception | None, seconds: float) -> None:
            if failure is not None:
                self.fail(failure)
                return
            self.meters.synced(persist.records, seconds)
            self.node.persisted(persist.token, self.clock.now())
            self._report(before.promised, before.epoch)
            self.carry_out()
            self._after_sync()

        self._disk.append(persist.records, done)

    def _after_sync(self) -> None:
        """Wake who waited for the disk, and let zeros be written ahead."""
        self.drained.set()
        self.drained = asyncio.Event()
        if self._paused and self.node.backlog < BACKLOG_LOW:
            paused, self._paused = self._paused, set()
            for channel in paused:
                channel.resume_reading()
        if self.store is not None and self.store.journal.wants_fill and not self._filling:
            self._filling = True
            self.spawn(self._fill())

    def _report(self, promised: int, epoch: int) -> None:
        """Log what a sync decided."""
        after = self.node.durable
        if after.promised != promised:
            log.info("promised an epoch to %s", after.owner, extra={"epoch": after.promised, "lsn": after.flush})
        if after.epoch != epoch:
            log.info("entered an epoch", extra={"epoch": after.epoch, "lsn": after.flush})

    async def _fill(self) -> None:
        try:
            while self.store is not None and self.store.journal.wants_fill:
                await asyncio.get_running_loop().run_in_executor(self.read_threads, self.store.journal.fill)
        except StoreError as error:
            self.fail(error)
        finally:
            self._filling = False

    def fail(self, error: Exception) -> None:
        """Take the node out of service for good."""
        self.node.failed(str(error))
        self.carry_out()

    # --- tasks ---------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task of this shell; one that fails by surprise takes the node out of service."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task failed", exc_info=error)
            self.node.failed(f"{type(error).__name__}: {error}")
            self.carry_out()

    async def aclose(self) -> None:
        """Stop: drop connections and tasks; an append that is under way is waited for."""
        if self._timer is not None:
            self._timer.cancel()
        for channel in list(self._conns):
            channel.close("the node stops")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._disk is not None:
            self._disk.stop()
        for executor in (self.blob_thread, self.read_threads):
            executor.shutdown()
        if self.store is not None:
            self.store.journal.close()
