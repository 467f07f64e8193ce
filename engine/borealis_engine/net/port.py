"""The log port of a storage node: gives each connection that the door lets in a thread that reads it.

Invariants: a connection has one reader at a time. A reader that hangs in the disk is relieved by another one, so that
the owner's heartbeats are heard and answered while a sync takes its time; it ends when it comes back. What goes wrong
on a connection, an unexpected error included, costs that connection alone.
"""

import itertools
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from borealis_engine.contract.names import ROLE_INSTANCE, ROLE_STORAGE
from borealis_engine.core.effects import Conn
from borealis_engine.net.channel import Endpoint
from borealis_engine.net.door import PEERS, STRANGERS, Door, Drop, Stranger
from borealis_engine.net.errors import Disconnected, NetError, PeerRejected
from borealis_engine.net.stream import Stream, TlsStream
from borealis_engine.net.wire_stream import WireStream
from borealis_engine.proto.errors import ProtocolError

log = logging.getLogger(__name__)

THREADS: Final = 2 * (PEERS + STRANGERS)  # at most: those of connections, and readers that hang in the disk
STOP_S: Final = 10.0  # for a thread to end


class Handler(Protocol):
    """Who takes what comes; called in the threads of the connections."""

    @property
    def endpoint(self) -> Endpoint:
        """Give who we are."""

    def opened(self, conn: Conn, stream: Stream) -> None:
        """A peer was accepted."""

    def received(self, conn: Conn, stream: Stream, data: bytes) -> None:
        """Bytes of frames came; the next ones are read when this returns."""

    def closed(self, conn: Conn) -> None:
        """The connection is gone."""

    def dropped(self, reason: Drop) -> None:
        """A connection was dropped."""


@dataclass(slots=True)
class _Line:
    """A connection and the thread that reads it."""

    conn: Conn
    stream: Stream
    stranger: Stranger
    reader: threading.Thread | None = None
    opened: bool = False  # the handler knows of it
    busy: bool = False  # the reader has handed over what it read and is not back


class Port:
    """Connections and their threads."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._lines: dict[Conn, _Line] = {}
        self._threads: set[threading.Thread] = set()
        self._stopped = False
        self._door = Door(self._welcome, dropped=handler.dropped)

    def listen(self, host: str, port: int) -> None:
        """Take connections from here on; OSError if the address cannot be had. In the event loop, as `close`."""
        self._door.listen(host, port)

    def close(self) -> None:
        """Take no more connections."""
        self._door.close()

    def _welcome(self, sock: socket.socket, stranger: Stranger) -> None:
        """Give a connection its thread; OSError, MemoryError or RuntimeError if there is none for it."""
        if len(self._threads) >= THREADS:
            raise ConnectionRefusedError(f"{THREADS} threads are at work already")
        endpoint, roles = self._handler.endpoint, (ROLE_INSTANCE, ROLE_STORAGE)
        wire = endpoint.tls.wire
        stream: Stream = TlsStream(sock, endpoint, roles) if wire is None else WireStream(sock, endpoint, roles, wire)
        line = _Line(Conn(next(self._numbers)), stream, stranger)
        with self._lock:
            thread = self._thread(line, self._greet)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads
                self._threads.discard(thread)
                stream.finish()
                raise
            self._lines[line.conn] = line

    def relieve(self, conn: Conn, hanging: int | None) -> None:
        """Let another thread read a connection if its reader is the one that hangs, named by its `ident`.

        None: in the library, and sure to come back to Python before it reads on.
        """
        with self._lock:
            line = self._lines.get(conn)
            if line is None or line.reader is None or self._stopped:
                return
            if hanging is not None and (line.reader.ident != hanging or not line.busy):
                return
            former, busy = line.reader, line.busy
            thread, line.busy = self._thread(line, self._read), False
            try:
                thread.start()
            except RuntimeError as error:  # then the connection waits for the one that hangs
                log.warning("a reader that hangs cannot be relieved: %s", error)
                self._threads.discard(thread)
                line.reader, line.busy = former, busy

    def stop(self) -> None:
        """Close all connections and wait for their threads; after `close`."""
        with self._lock:
            self._stopped = True
            lines, threads = list(self._lines.values()), list(self._threads)
        for line in lines:
            line.stream.close("the node stops")
        for thread in threads:
            thread.join(STOP_S)

    def _thread(self, line: _Line, work: Callable[[_Line], None]) -> threading.Thread:
        """Give the connection a reader, to be started; under the lock."""

        def run() -> None:
            _be_patient()
            reason, drop, counts = "internal error", Drop.FAILED, True
            try:
                work(line)
            except (NetError, ProtocolError) as error:
                reason, drop = str(error), Drop.REJECTED
                counts = isinstance(error, PeerRejected)
            except Exception:
                log.exception("a connection's thread failed")
            finally:
                self._end(line, thread, reason, drop, counts=counts)
                with self._lock:
                    self._threads.discard(thread)

        thread = line.reader = threading.Thread(target=run, name=f"conn-{line.conn}", daemon=True)
        self._threads.add(thread)
        return thread

    def _greet(self, line: _Line) -> None:
        """Accept the peer by its certificate, then read."""
        line.stream.handshake()
        if not self._door.known(line.stranger):
            raise Disconnected("dropped before its certificate was seen")
        self._handler.opened(line.conn, line.stream)
        line.opened = True
        self._read(line)

    def _read(self, line: _Line) -> None:
        """Read until the end, which is an error, or until another thread does."""
        me = threading.current_thread()
        while True:
            data = line.stream.receive()
            with self._lock:
                if line.reader is me:
                    line.busy = True
            self._handler.received(line.conn, line.stream, data)
            with self._lock:
                if line.reader is not me:
                    return
                line.busy = False

    def _end(self, line: _Line, thread: threading.Thread, reason: str, drop: Drop, *, counts: bool) -> None:
        """A thread is done, and the connection with it unless another thread reads that."""
        with self._lock:
            if line.reader is not thread:
                return
            self._lines.pop(line.conn, None)
        if self._door.gone(line.stranger) or counts:
            self._door.note(drop, reason)
        line.stream.close(reason)
        line.stream.finish()
        if line.opened:
            self._handler.closed(line.conn)


def _be_patient() -> None:
    """Have the thread wait for its turn when it is woken: a writer that sends to six is not to be stopped by the first.

    Where they share few processors, commits of one client were a tenth faster with it.
    """
    with suppress(OSError):  # not allowed: it works as well, but slower
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
