"""Stamps on the path of a commit, for `benchmarks.stages`: on Python's path only of the processes that it starts.

Methods of the running agent and storage nodes are wrapped, so that the product itself carries no stamps. A stamp is
(name, end of the log that it is about, nanoseconds of the machine's monotonic clock); a thread writes them out.
"""

import functools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = "BOREALIS_BENCH_STAMPS"
FLUSH_S = 0.2
_stamps: list[tuple[str, int, int]] = []


def stamp(name: str, end: int) -> None:
    """Note that something happened to the log that ends at `end`."""
    _stamps.append((name, end, time.monotonic_ns()))


def around(owner: type, method: str, *, key: Callable[..., int], before: str = "", after: str = "") -> None:
    """Stamp before and after a method; `key` gives the end of log from its arguments, 0 for none."""
    inner = getattr(owner, method)

    @functools.wraps(inner)
    def wrapped(*given: Any) -> Any:
        end = key(*given)
        if end and before:
            stamp(before, end)
        result = inner(*given)
        if end and after:
            stamp(after, end)
        return result

    setattr(owner, method, wrapped)


def _end_of(records: Any) -> int:
    return max((each.lsn + len(each.data) for each in records if hasattr(each, "data")), default=0)


def watch_storage() -> None:
    """Stamp what a storage node does."""
    from borealis_engine.core.messages import Ack
    from borealis_engine.net.shell import Shell
    from borealis_engine.net.stream import TlsStream
    from borealis_engine.proto.frames import parse_append
    from borealis_engine.store.disk import RealFile
    from borealis_engine.store.journal import Journal

    latest = [0]  # end of the log that is being appended: one thread at a time does

    def appended(journal: Any, records: Any) -> int:
        latest[0] = _end_of(records)
        return latest[0]

    def extended(journal: Any, lsn: int, data: Any, state: Any) -> int:
        latest[0] = lsn + len(data)
        return latest[0]

    def arrived(shell: Any, conn: Any, stream: Any, data: bytes) -> int:
        append = parse_append(data, shell.node.config.generation, shell.node.member)
        return append[2] + len(append[5]) if append is not None else 0

    def acked(stream: Any, message: Any) -> int:
        return int(message.flush) if isinstance(message, Ack) else 0

    around(Shell, "received", key=arrived, before="arrived")
    around(Journal, "append", key=appended, before="append", after="indexed")
    around(Journal, "extend", key=extended, before="append", after="indexed")
    around(RealFile, "write_through", key=lambda *_: latest[0], before="write", after="synced")
    around(TlsStream, "send", key=acked, after="acked")


def watch_agent() -> None:
    """Stamp what the writer's agent does."""
    from borealis_engine.core.messages import Ack
    from borealis_engine.net.members import _Line
    from borealis_engine.postgres.logwriter import LogWriter
    from borealis_engine.postgres.ownership import Ownership

    inner = LogWriter.data_received

    def data_received(self: Any, data: bytes) -> None:
        began, before = time.monotonic_ns(), self._offered
        inner(self, data)
        if self._offered != before:
            _stamps.append(("read", self._offered, began))

    def heard(line: Any, channel: Any, envelope: Any) -> int:
        return int(envelope.message.flush) if isinstance(envelope.message, Ack) else 0

    LogWriter.data_received = data_received  # type: ignore[method-assign]
    around(Ownership, "offer", key=lambda self, lsn, data: lsn + len(data), before="offered", after="sent")
    around(_Line, "received", key=heard, before="heard")
    around(LogWriter, "durable", key=lambda self, lsn: int(lsn), before="durable", after="released")


def write(path: Path) -> None:
    """Write stamps out for as long as the process lives."""
    with path.open("a", buffering=1) as file:
        while True:
            time.sleep(FLUSH_S)
            taken = _stamps[:]
            del _stamps[: len(taken)]
            file.write("".join(f"{name} {end} {at}\n" for name, end, at in taken))


if folder := os.environ.get(FOLDER):
    watch_storage()
    watch_agent()
    threading.Thread(target=write, args=(Path(folder, f"{os.getpid()}.stamps"),), daemon=True).start()
