"""PostgreSQL's log on its way out, read by a thread of its own so that no flood of messages holds the event loop up.

What the thread does costs for each piece that it reads, never for each line. It looks for one thing: that a backend
gave up its wait for the synchronous standby (postgres.guard says what follows from that).

The invariant: no text that a user can have logged is taken for it. PostgreSQL begins each further line of a message
with a tab, and only PostgreSQL's code names the function in a LOCATION line (log_error_verbosity=verbose). The
parameters that this rests on are on PostgreSQL's command line (settings.DISPOSABLE). One way is left: processes share
the pipe, and a message of more than 4 KiB can be parted by another's while the pipe is full; a part can then look like
a line of PostgreSQL's own, or part such a line. The guard only looks once more then, so a forgery gains nothing.
"""

import fcntl
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

# SyncRepWaitForLSN, replication/syncrep.c, PostgreSQL 15 to 17: its two warnings are about waits that were given up.
GIVEN_UP: Final = b"\nLOCATION:  SyncRepWaitForLSN, syncrep.c:"
READ: Final = 1 << 18  # bytes
PIPE: Final = 1 << 20  # bytes that PostgreSQL may be ahead; as much as a user without privileges gets (pipe(7))
PIECE: Final = 8 << 10  # bytes of log that are passed on as one, cut at the end of a line where there is one
LONGEST: Final = 64 << 10  # bytes of a line that has not ended and is passed on nevertheless


class ServerLog(threading.Thread):
    """Reads a pipe until `finish` is called or all of its writers are gone.

    `on_text` gets pieces of whole lines; `on_given_up` is called once for each read that tells of waits that were given
    up. Both are called on this thread.
    """

    def __init__(self, pipe: int, on_text: Callable[[str], object], on_given_up: Callable[[], object]) -> None:
        super().__init__(name="postgresql-log", daemon=True)
        self._pipe, self._on_text, self._on_given_up = pipe, on_text, on_given_up
        self._finishing = os.eventfd(0, os.EFD_CLOEXEC)
        self._last, self._rest = b"\n", b""
        os.set_blocking(pipe, False)
        with suppress(OSError):  # a container may have less
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)

    def run(self) -> None:
        """Read to the end."""
        while data := self._read():
            seen = self._last + data
            self._last = seen[-len(GIVEN_UP) + 1 :]
            if GIVEN_UP in seen:
                self._on_given_up()
            self._pass_on(data)
        self._pass_on(b"\n" if self._rest else b"")

    def finish(self) -> None:
        """Have what is in the pipe read, and return when that is done."""
        os.eventfd_write(self._finishing, 1)
        self.join()
        os.close(self._finishing)

    def _read(self) -> bytes:
        """Wait for the next bytes; none at the end."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        poll.register(self._finishing, select.POLLIN)
        while True:
            with suppress(BlockingIOError):
                return os.read(self._pipe, READ)
            if any(descriptor == self._finishing for descriptor, _ in poll.poll()):
                with suppress(BlockingIOError):
                    return os.read(self._pipe, READ)
                return b""

    def _pass_on(self, data: bytes) -> None:
        text = self._rest + data
        whole = text.rfind(b"\n") + 1
        if len(text) - whole > LONGEST:
            whole = len(text)
        self._rest = text[whole:]
        begin = 0
        while begin < whole:
            end = whole if whole - begin <= PIECE else text.rfind(b"\n", begin, begin + PIECE) + 1
            end = end if end > begin else min(begin + PIECE, whole)
            if piece := text[begin:end].decode(errors="replace").rstrip():
                self._on_text(piece)
            begin = end
