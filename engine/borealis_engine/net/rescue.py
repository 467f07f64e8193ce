"""A disk that could not be opened because it is damaged: mended with what the other members hold, then opened anew.

The node stands by, out of service, and says what is missing. Invariant: nothing of the disk is believed here; when all
holes are filled, recovery has to find it whole, and only a fresh process, which opens it as after any restart, serves.
Meanwhile others may read what is whole of its log, for they may be damaged as well, each in another place.
"""

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from borealis_engine.core.journal import EMPTY
from borealis_engine.core.watermark import Watermark
from borealis_engine.net.background import PACE, Background, Pace
from borealis_engine.net.donors import fetch_log
from borealis_engine.store.disk import Disk
from borealis_engine.store.errors import DiskCorrupt, Exhausted, StoreError, disk_errors
from borealis_engine.store.holes import Piece
from borealis_engine.store.journal_file import file_name
from borealis_engine.store.mending import open_damaged, put
from borealis_engine.store.survey import Survey, survey_disk

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell

log = logging.getLogger(__name__)


class Rescue:
    """Mends the disk of one node that is out of service; `reopen` opens it on trial, raising StoreError."""

    def __init__(self, shell: "Shell", disk: Disk, *, reopen: Callable[[], None], pace: Pace = PACE) -> None:
        self._shell, self._disk, self._reopen = shell, disk, reopen
        self._why = shell.node.unfit
        self._thread = Background("rescue", pace, busy=lambda: False, failed=shell.fail)
        self.damaged: dict[str, str] = {"journal": self._why}
        self.repaired = 0
        self.scrubbed_at = 0.0
        self.message = ""  # the node's own says it
        self.healed = False

    def start(self) -> None:
        """Begin, in a running loop."""
        self._thread.start(self._work)

    def stop(self) -> None:
        """End; not from the event loop."""
        self._thread.stop()

    # --- in the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self.healed:
            try:
                while missing := self._attempt():
                    self._say(f"{missing} damaged places that no other member has mended yet")
                    self._thread.rest(self._thread.pace.retry_s)
                with disk_errors("opening the mended disk"):
                    self._reopen()
            except Exhausted as error:
                self._say(f"it is looked at again: {error}")
                self._thread.rest(self._thread.pace.retry_s)
            except (StoreError, OSError) as error:
                self._say(f"it cannot be mended: {error}")
                return
            else:
                self.damaged.clear()
                self.healed = True

    def _attempt(self) -> int:
        """Mend what peers give; give how many places are left."""
        with disk_errors("looking at the damage"):
            found = survey_disk(self._disk, self._shell.node.member)
        if not found.damaged:
            raise DiskCorrupt("no damaged place is found that log from another member would mend")
        self._salvage(found)
        pieces, missing = self._gather(found)
        for number, belong in pieces.items():
            with disk_errors("mending a damaged place"):
                file = self._disk.open(file_name(number))
                try:
                    put(file, belong)
                finally:
                    file.close()
        for _ in range(found.damaged - missing):
            self.repaired += 1
            self._shell.meters.repaired()
        log.info("mended %d damaged places, %d are left", found.damaged - missing, missing)
        if (salvaged := self._shell.serving.salvaged) is not None:
            for hole in found.holes:
                salvaged.recut(hole)
        return missing

    def _salvage(self, found: Survey) -> None:
        """Let others read what is whole, before they are asked: they may be waiting for it, as this node for theirs."""
        shell, state = self._shell, found.state
        if shell.serving.salvaged is not None or state is None:
            return
        try:
            with disk_errors("opening what is whole of the journal"):
                shell.serving.salvaged = open_damaged(self._disk, found, member=shell.node.member)
        except DiskCorrupt as error:
            log.info("nobody may read here before a file's header is mended: %s", error)
            return
        with shell.lock:
            shell.node.serving.salvage(state)

    def _gather(self, found: Survey) -> tuple[dict[int, list[Piece]], int]:
        pieces, missing = defaultdict[int, list[Piece]](list), 0
        for known in found.known:
            pieces[known.file].append(known.piece)
        state = found.state or EMPTY
        durable = Watermark(state).here(state)
        for hole in found.holes:
            live = found.index.live(hole.file, hole.offset, hole.lsn, hole.upto)
            got = self._thread.ask(fetch_log(self._shell, hole, live, durable=durable, epoch=state.epoch))
            if got is None:
                missing += 1
            else:
                pieces[hole.file] += got
        return pieces, missing

    def _say(self, what: str) -> None:
        log.warning("the damaged disk: %s", what)
        with self._shell.lock:
            self._shell.node.unfit = f"{self._why}; {what}"
