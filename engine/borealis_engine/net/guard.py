"""What an error may cost: one connection, or a wait; never a storage node that could go on."""

import logging
import time
from collections.abc import Callable
from typing import Final

from borealis_engine.net.door import Drop
from borealis_engine.net.stream import Stream

log = logging.getLogger(__name__)

WANT_S: Final = 0.1  # before a write that found no memory is tried again


def at_its_own_cost(work: Callable[[], None], stream: Stream | None, dropped: Callable[[Drop], None]) -> None:
    """Do what concerns one connection: an unexpected error ends that connection alone."""
    try:
        work()
    except Exception:
        log.exception("a connection's request failed")
        dropped(Drop.FAILED)
        if stream is not None:
            stream.close("internal error")


def guarded(work: Callable[[], None], failed: Callable[[Exception], None]) -> None:
    """Do work that belongs to no connection, in a thread of its own; `failed` hears of any error."""
    try:
        work()
    except Exception as error:
        log.exception("background work failed")
        failed(error)


def waiting_for_memory(write: Callable[[], None], spoiled: Callable[[], str]) -> None:
    """Write; want of memory is waited out, and whoever sends waits too, unless a byte may have been written."""
    told = False
    while True:
        try:
            return write()
        except MemoryError:
            if spoiled():
                raise
            if not told:
                log.exception("no memory to write the journal: trying again")
            told = True
            time.sleep(WANT_S)
