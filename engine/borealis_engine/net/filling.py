"""A thread that writes zeros ahead of a storage node's journal, so that an append finds its blocks allocated."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from borealis_engine.store.journal import Journal


class Filling:
    """The thread of one journal; `failed` hears of any error. `tight`: the disk's reserve begins, nothing is filled."""

    def __init__(self, failed: Callable[[Exception], None], measure: Callable[[], None]) -> None:
        """`measure` sets `tight` anew."""
        self._failed, self._measure = failed, measure
        self.tight = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fill")
        self._busy = False

    def ahead(self, journal: Journal) -> None:
        """Have zeros written behind the end of the journal, if there are few."""
        if journal.wants_fill and not self._busy and not self.tight:
            self._busy = True
            self._thread.submit(self._fill, journal)

    def stop(self) -> None:
        """Wait for the thread's end."""
        self._thread.shutdown()

    def _fill(self, journal: Journal) -> None:
        try:
            while journal.wants_fill and not self.tight and journal.fill():
                self._measure()
        except MemoryError:
            pass  # an append asks again
        except Exception as error:  # noqa: BLE001 - whatever it was, the node must not go on as if zeros were there
            self._failed(error)
        finally:
            self._busy = False
