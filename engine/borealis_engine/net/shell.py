"""The shell of one storage node: core.node.Node between the connections and the disk.

Each connection has a thread (net.stream): it gives messages in, carries out what the node asks for, and writes and
syncs itself, so an append never changes threads between the socket and the disk. The event loop keeps what is rare:
status, pulls, timers. Invariants: the node is touched only under `lock`, effects are carried out in order under it,
and only writes, syncs and bulk answers are left to the calling thread; `persisted` is told only after the journal's
append has returned; any failure of the disk takes the node out of service before anything else is answered.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, ParamSpec, TypeAlias, assert_never, cast

from borealis_engine import native
from borealis_engine.contract.volume import Epoch, Lsn, VolumeConfig
from borealis_engine.core.effects import (
    Adopt,
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
from borealis_engine.core.journal import Logged
from borealis_engine.core.messages import Ack, Refused
from borealis_engine.core.node import Node
from borealis_engine.core.standing import is_news
from borealis_engine.net.channel import Endpoint
from borealis_engine.net.clock import BEAT_S, StallFreeClock
from borealis_engine.net.filling import Filling
from borealis_engine.net.guard import at_its_own_cost, guarded, waiting_for_memory
from borealis_engine.net.intake import Intake
from borealis_engine.net.lending import HANG_S, Lending
from borealis_engine.net.meters import Meters
from borealis_engine.net.port import Port
from borealis_engine.net.serving import Serving
from borealis_engine.net.space import Space
from borealis_engine.net.stream import Stream
from borealis_engine.net.tls import Tls
from borealis_engine.net.uploads import Uploads
from borealis_engine.net.wire_stream import WireStream
from borealis_engine.proto.frames import parse_append
from borealis_engine.store.disk import DIRECT_FROM
from borealis_engine.store.errors import Exhausted, StoreError
from borealis_engine.store.member import Store

log = logging.getLogger(__name__)

BACKLOG_HIGH: Final = 32 << 20  # bytes waiting for the disk before nobody is read any more
BACKLOG_LOW: Final = 8 << 20

P = ParamSpec("P")
Subject: TypeAlias = int | str  # a journal file by its number, an image by its digest
Work: TypeAlias = Persist | StoreImage | ServeLog | ServeFeed | ServeImage | Adopt  # what waits for a disk or a peer


class Shell:
    """Runs a node; `store` is None for a disk that cannot be used."""

    def __init__(self, *, node: Node, store: Store | None, tls: Tls, clock: StallFreeClock, meters: Meters) -> None:
        self.node = node
        self.store = store
        self.clock = clock
        self.meters = meters
        self.dropped = meters.dropped
        self.endpoint = Endpoint(tls=tls, identity=node.member, generation=lambda: node.config.generation)
        library = native.library()
        self.lending = Lending(self, library) if library is not None else None
        self.lock = self.lending.lane if self.lending else threading.Lock()
        self._adopting = threading.Lock()  # one configuration after the other; taken before `lock`
        self.changed = threading.Condition(cast(threading.Lock, self.lock))  # what may be read, backlog, or service
        self.cuts = 0  # truncations so far
        self.disk_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")  # for the event loop
        self.space = Space(self)
        self._filling = Filling(self.fail, self.space)
        self._streams: dict[Conn, Stream] = {}
        self._syncing: tuple[Conn, int, float] | None = None  # whose reader is in the disk, its thread, since when
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: Exception | None = None  # what took the node out of service
        self.on_damage: Callable[[Subject, Exception], None] = lambda subject, error: self.fail(error)
        self.serving = Serving(self)
        self._intake = Intake(self)
        self._uploads = Uploads(self)
        self.port = Port(self)

    def start(self) -> None:
        """Begin, in a running loop."""
        self._loop = asyncio.get_running_loop()
        self.spawn(self._beat())

    # --- inputs --------------------------------------------------------------------------------------------------

    def opened(self, conn: Conn, stream: Stream) -> None:
        """A peer was accepted."""
        with self.lock:
            self._streams[conn] = stream
        if isinstance(stream, WireStream) and self.lending:
            self.lending.attach(conn, stream)

    def received(self, conn: Conn, stream: Stream, data: bytes) -> None:
        """Give what came to the node and do what follows, in the connection's thread."""
        if isinstance(stream, WireStream) and self.lending and not data:
            self.lending.finish(conn, stream)
            return
        if stream.between_frames and self._extend(conn, stream, data):
            return
        if not (envelopes := stream.decode(data)):
            return

        def receive(now: float) -> None:
            for envelope in envelopes:
                self.node.receive(conn, envelope, now)

        self._work_off(self._step(receive), conn)
        if self.node.backlog > BACKLOG_HIGH:
            self.wait_for_disk(BACKLOG_LOW)

    def _extend(self, conn: Conn, stream: Stream, frame: bytes) -> bool:
        """Take the next append of a steady reign: checked, written, synced and acked here; False: not one of those."""
        node, store = self.node, self.store
        append = parse_append(frame, node.config.generation, node.member)
        if append is None or store is None:
            return False
        epoch, number, lsn, durable, beat, data = append
        with self._whole():
            after = node.steady.extend(conn, epoch, number, lsn, durable, beat, len(data), self.clock.now())
        if after is None:
            return False
        if self._sync(conn, len(data), store.journal.extend, lsn, data, after):
            self.extended(conn, stream, epoch, after.flush, beat)
            self.fill_ahead()
        return True

    def extended(self, conn: Conn, stream: Stream, epoch: Epoch, flush: Lsn, beat: int) -> None:
        """Acknowledge what `steady.extend` took and is durable, unless more came meanwhile: then the node says what."""
        node = self.node
        work: list[Work] = []
        with self._whole():
            steady, feeding = node.extended(conn), node.feeding
            if steady:
                stream.send(Ack(epoch, flush, beat, feeding))
            if feeding or not steady:
                work = self._carry_out()
                self.changed.notify_all()
        self._work_off(work, conn)

    def moved(self, conn: Conn) -> None:
        """D has moved under readers that follow here: what follows from that, in the reader of `conn`."""
        with self._whole():
            work = self._carry_out()
            self.changed.notify_all()
        self._work_off(work, conn)

    def closed(self, conn: Conn) -> None:
        """A connection is gone."""
        self._uploads.closed(conn)
        with self.lock:
            del self._streams[conn]
            self.serving.closed(conn)
        self.input(lambda now: self.node.closed(conn))

    def input(self, give: Callable[[float], None]) -> None:
        """Give the node something from the event loop or a background thread; the disk's thread writes."""
        work = self._step(give)
        if work:
            self.disk_thread.submit(guarded, partial(self._work_off, work), self.fail)

    def _step(self, give: Callable[[float], None]) -> list[Work]:
        """Give the node something and do what follows; what is left is for a thread that may wait."""
        with self._whole():
            give(self.clock.now())
            return self._carry_out()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Hold the lock for a step of the node; an unexpected error half-way takes it out of service."""
        with self.lock:
            try:
                yield
            except Exception as error:
                self._failed(error)
                raise

    def configure(self, config: VolumeConfig) -> VolumeConfig:
        """Adopt a higher configuration of this cluster, durably; give the one in force."""
        with self._adopting:
            return self._adopt(config)

    def _adopt(self, config: VolumeConfig) -> VolumeConfig:
        known = self.node.config
        if is_news(config, known):
            if self.store is not None:
                try:
                    self.store.remember_volume(config.to_json())
                except Exhausted as error:  # not adopted: whoever told of it tells again
                    log.warning("%s", error)
                    return known
                except StoreError as error:
                    self.fail(error)
                    return known
            self.input(lambda now: self.node.configure(config))
            which = {"generation": config.generation, "revision": config.revision}
            log.info("adopted a volume configuration", extra=which)
        return self.node.config

    def fail(self, error: Exception) -> None:
        """Take the node out of service for good."""
        with self.lock:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failure = self.failure or error
        self.node.failed(str(error) or type(error).__name__)
        self._carry_out()

    async def fetch_image(self, image: str) -> bool:
        """Store an image anew; False if no other member gives it."""
        return await self._intake.obtain(image, [m.id for m in self.node.config.members if m.id != self.node.member])

    @property
    def syncing(self) -> bool:
        """Tell whether an append is on its way to the disk."""
        return self._syncing is not None or bool(self.lending and self.lending.lane.syncing)

    # --- effects, under the lock ---------------------------------------------------------------------------------

    def _carry_out(self) -> list[Work]:
        """Do what the node asks for; give what is left for a thread that may wait."""
        left: list[Work] = []
        while effects := self.node.effects():
            for effect in effects:
                match effect:
                    case Send(conn=conn, message=message):
                        if isinstance(message, Refused):
                            self.meters.refused(message.reason)
                        if conn in self._streams:
                            self._streams[conn].send(message)
                    case Persist() | StoreImage() | ServeLog() | ServeFeed() | ServeImage() | Adopt():
                        left.append(effect)
                    case _:
                        self._carry_out_rare(effect)
        return left

    def _carry_out_rare(self, effect: NodeEffect) -> None:
        match effect:
            case Readable():
                self.changed.notify_all()
            case Close(conn=conn, reason=reason):
                if conn in self._streams:
                    log.warning("closing a connection: %s", reason)
                    self._streams[conn].close(reason)
            case PullImage() | LoadImage() | Pull() | CancelPull():
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._intake.take, effect)
            case Truncated(end=end):
                self.cuts += 1
                log.info("truncated the log", extra={"lsn": end, "epoch": self.node.durable.promised})
                self.serving.truncated(end)
            case OutOfService(reason=reason):
                log.error("out of service: %s", reason)
                self.changed.notify_all()  # feeds close: a reader must not take this node's last D for the volume's
            case Send() | Persist() | StoreImage() | ServeLog() | ServeFeed() | ServeImage() | Adopt():
                raise AssertionError(f"{effect} is carried out elsewhere")
            case _:
                assert_never(effect)

    def stream(self, conn: Conn) -> Stream | None:
        """Give a connection, None once it is closed; under the lock."""
        return self._streams.get(conn)

    # --- work, in a thread that may wait -------------------------------------------------------------------------

    def _work_off(self, work: list[Work], conn: Conn | None = None) -> None:
        pending = deque(work)
        while pending:
            match effect := pending.popleft():
                case Persist():
                    pending.extend(self._persist(effect, conn))
                case Adopt(config=config):
                    self.configure(config)  # before this connection's next message is taken
                case StoreImage():
                    self._for_one(effect.conn, partial(self._uploads.take, effect))
                case ServeLog() | ServeFeed() | ServeImage():
                    self._for_one(effect.conn, partial(self.serving.serve, effect))
                case _:
                    assert_never(effect)

    def _for_one(self, conn: Conn, work: Callable[[], None]) -> None:
        with self.lock:
            stream = self.stream(conn)
        at_its_own_cost(work, stream, self.meters.dropped)

    def _persist(self, persist: Persist, conn: Conn | None) -> list[Work]:
        """Write and sync, for the reader of `conn` or a background thread; give what the node wants next."""
        store, before = self.store, self.node.durable
        size = sum(len(record.data) for record in persist.records if isinstance(record, Logged))
        if store is None or not self._sync(conn, size, store.journal.append, persist.records):
            return []
        work = self._step(lambda now: self.node.persisted(persist.token))
        with self.lock:
            self.changed.notify_all()
        self._report(before.promised, before.epoch)
        if size < DIRECT_FROM:  # else more comes, and zeros in the page cache would have to be written out before it
            self.fill_ahead()
        return work

    def _sync(self, conn: Conn | None, size: int, write: Callable[P, None], *args: P.args, **named: P.kwargs) -> bool:
        """Make `size` bytes of log durable, in the reader of `conn` if there is one; False: that failed for good."""
        began = time.monotonic()
        self._syncing = (conn, threading.get_ident(), began) if conn is not None else None
        try:
            journal = self.store.journal if self.store else None
            waiting_for_memory(partial(write, *args, **named), lambda: journal.failed if journal else "no disk")
        except Exception as error:  # noqa: BLE001 - whatever it was, what the disk holds is not known any more
            self.fail(error)
            return False
        finally:
            self._syncing = None
        self.meters.synced(size, time.monotonic() - began)
        return True

    def wait_for_disk(self, backlog: int) -> None:
        """Wait until no more than `backlog` bytes wait for the disk, or the node is out of service."""
        with self.lock:
            self.changed.wait_for(lambda: self.node.backlog <= backlog or self.node.unfit)

    def _report(self, promised: int, epoch: int) -> None:
        """Log what a sync decided."""
        after = self.node.durable
        if after.promised != promised:
            log.info("promised an epoch to %s", after.owner, extra={"epoch": after.promised, "lsn": after.flush})
        if after.epoch != epoch:
            log.info("entered an epoch", extra={"epoch": after.epoch, "lsn": after.flush})

    def fill_ahead(self) -> None:
        """Have zeros written behind the end of the journal, if there are few."""
        if self.store:
            self._filling.ahead(self.store.journal)

    # --- the event loop ------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Let the clock go on, do what is due, and replace threads that hang in the disk."""
        while True:
            self.clock.beat()
            if (due := self.node.next_deadline()) is not None and due <= self.clock.now():
                self.input(self.node.tick)
            if self.lending:
                self.lending.look()
            self.space.measure()
            if (syncing := self._syncing) is not None and time.monotonic() - syncing[2] > HANG_S:
                self.port.relieve(*syncing[:2])
            await asyncio.sleep(BEAT_S)

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
            self.fail(Exception(f"{type(error).__name__}: {error}"))

    async def aclose(self) -> None:
        """Stop: drop connections and tasks; an append that is under way is waited for."""
        self.port.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self.port.stop()
        self.disk_thread.shutdown()
        self._filling.stop()
        if self.store is not None:
            self.store.journal.close()
