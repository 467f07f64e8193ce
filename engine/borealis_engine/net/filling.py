"""A thread that writes zeros ahead of a storage node's journal, so that an append finds its blocks allocated."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from borealis_engine.net.space import Space
from borealis_engine.store.journal import Journal


class Filling:
    """The thread of one journal; `failed` hears of any error."""

    def __init__(self, failed: Callable[[Exception], None], space: Space) -> None:
        self._failed, self._space = failed, space
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fill")
        self._busy = False

    def ahead(self, journal: Journal) -> None:
        """Have zeros written behind the end of the journal, if there are few."""
        if journal.wants_fill and not self._busy and not self._space.tight:
            self._busy = True
            self._thread.submit(self._fill, journal)

    def stop(self) -> None:
        """Wait for the thread's end."""
        self._thread.shutdown()

    def _fill(self, journal: Journal) -> None:
        try:
            filled = True
            while filled and journal.wants_fill and not self._space.tight:
                filled = journal.fill()
                self._space.measure()  # at once: zeros that found no room say that others took it
        except MemoryError:
            pass  # an append asks again
        except Exception as error:  # noqa: BLE001 - whatever it was, the node must not go on as if zeros were there
            self._failed(error)
        finally:
            self._busy = False
