"""The log port of a storage node: accepts connections and gives each a thread that reads it.

Invariant: a connection has one reader at a time. A reader that hangs in the disk is relieved by another one, so that
the owner's heartbeats are heard and answered while a sync takes its time; it ends when it comes back.
"""

import asyncio
import itertools
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from borealis_engine.contract.names import ROLE_INSTANCE, ROLE_STORAGE
from borealis_engine.core.effects import Conn
from borealis_engine.net.channel import Endpoint
from borealis_engine.net.errors import NetError
from borealis_engine.net.stream import Stream
from borealis_engine.proto.errors import ProtocolError

log = logging.getLogger(__name__)

CONNECTIONS: Final = 256  # at most; more are closed at once
BACKLOG: Final = 64  # connections not accepted yet
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

    def fail(self, error: Exception) -> None:
        """A thread ended by surprise."""


@dataclass(slots=True)
class _Line:
    """A connection and the thread that reads it."""

    conn: Conn
    stream: Stream
    reader: threading.Thread | None = None


class Port:
    """Connections and their threads."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._lines: dict[Conn, _Line] = {}
        self._threads: set[threading.Thread] = set()
        self._stopped = False

    async def accept(self, listener: socket.socket) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                sock, _ = await loop.sock_accept(listener)
                if len(self._threads) < CONNECTIONS:
                    stream = Stream(sock, self._handler.endpoint, (ROLE_INSTANCE, ROLE_STORAGE))
                    self._begin(_Line(Conn(next(self._numbers)), stream), self._greet)
                else:
                    log.warning("%d connections are open: another one is refused", CONNECTIONS)
                    sock.close()

    def relieve(self, conn: Conn, hanging: threading.Thread) -> None:
        """Let another thread read a connection if its reader is the one that hangs."""
        with self._lock:
            line = self._lines.get(conn)
        if line is not None and line.reader is hanging and not self._stopped:
            self._begin(line, self._read)

    def stop(self) -> None:
        """Close all connections and wait for their threads."""
        with self._lock:
            self._stopped = True
            lines, threads = list(self._lines.values()), list(self._threads)
        for line in lines:
            line.stream.close("the node stops")
        for thread in threads:
            thread.join(STOP_S)

    def _begin(self, line: _Line, work: Callable[[_Line], None]) -> None:
        def run() -> None:
            try:
                work(line)
            except Exception as error:
                log.exception("a connection's thread failed")
                self._handler.fail(error)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=f"conn-{line.conn}", daemon=True)
        line.reader = thread
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _greet(self, line: _Line) -> None:
        """Accept the peer by its certificate, then read."""
        try:
            line.stream.handshake()
        except NetError as error:
            log.info("a connection came to nothing: %s", error)
            line.stream.finish()
            return
        with self._lock:
            self._lines[line.conn] = line
            if self._stopped:
                line.stream.close("the node stops")
        self._handler.opened(line.conn, line.stream)
        self._read(line)

    def _read(self, line: _Line) -> None:
        """Read until the end, or until another thread does."""
        me = threading.current_thread()
        try:
            while line.reader is me:
                self._handler.received(line.conn, line.stream, line.stream.receive())
        except (NetError, ProtocolError) as error:
            line.stream.close(str(error))
        except BaseException:
            line.stream.close("internal error")
            raise
        finally:
            if line.reader is me:
                self._end(line)

    def _end(self, line: _Line) -> None:
        with self._lock:
            del self._lines[line.conn]
        line.stream.finish()
        self._handler.closed(line.conn)


def bind(host: str, port: int) -> socket.socket:
    """Give a listening socket for `Port.accept`; OSError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
