"""Scrubbing and mending of a storage node that runs: every byte of its disk is verified again and again, and what is
damaged is made good with what the other members hold.

A damaged file stays in use: its damaged bytes are given to nobody, everything else is. The node leaves the service if
what is damaged cannot be told (a promise or history may be lost with it), or is log above D that nobody gives: it would
claim in an election what it cannot show. Invariant: nothing is mended but by bytes that are proven or known to be the
same (`store.holes`, `net.donors`), and a process whose disk failed to write mends nothing more.
"""

import logging
import time
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from borealis_engine.net.background import PACE, Background, Pace
from borealis_engine.net.donors import fetch_log
from borealis_engine.store.disk import Unopened
from borealis_engine.store.errors import DiskCorrupt, DiskFailed, Exhausted, LogDamaged
from borealis_engine.store.holes import Piece
from borealis_engine.store.member import Store
from borealis_engine.store.mending import check_file, check_image, put, survey_journal
from borealis_engine.store.survey import Unsettled

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell, Subject

log = logging.getLogger(__name__)


class Healing:
    """The scrubber of one node; `damaged` says of each file what is wrong with it."""

    def __init__(self, shell: "Shell", store: Store, *, pace: Pace = PACE) -> None:
        self._shell, self._store = shell, store
        self._thread = Background("scrub", pace, busy=lambda: shell.syncing, failed=shell.fail)
        self._hopeless: set[Subject] = set()
        self._due = 0.0  # when to try again
        self.damaged: dict[Subject, str] = {}
        self.repaired = 0
        self.scrubbed_at = 0.0
        shell.on_damage = self.suspect

    @property
    def message(self) -> str:
        """Say what is damaged; empty if nothing is."""
        return "; ".join(list(self.damaged.values()))

    @property
    def healed(self) -> bool:
        """Tell whether damage took the node out of service and is gone: the disk may be opened anew."""
        return isinstance(self._shell.failure, DiskCorrupt) and not self.damaged

    def start(self) -> None:
        """Begin, in a running loop."""
        self._thread.start(self._work)

    def stop(self) -> None:
        """End; not from the event loop."""
        self._thread.stop()

    def suspect(self, subject: "Subject", error: Exception) -> None:
        """Hear from any thread that a file was found damaged: it is looked at now. Not under the shell's lock."""
        if subject not in self.damaged:
            log.error("damage: %s", error)
            self.damaged[subject] = str(error)
        if isinstance(subject, str):
            with self._shell.lock:
                self._shell.node.image_lost(subject)
        self._due = 0.0
        self._thread.wake()

    # --- in the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._miss_image()
        while True:
            for subject in self._subjects():
                self._check(subject)
                self._heal()
            self.scrubbed_at = time.time()
            log.info("scrubbed the disk: %d damaged, %d mended", len(self.damaged), self.repaired)
            until = time.monotonic() + self._thread.pace.rest_s
            while (left := until - time.monotonic()) > 0:
                self._thread.rest(min(left, self._thread.pace.retry_s) if self.damaged else left)
                self._heal()

    def _miss_image(self) -> None:
        """Fetch the volume's image at once if it was not readable at the start: without it no instance can begin."""
        history, images = self._shell.node.durable.history, self._store.images
        if history and history[0].image not in images.extents:
            image = history[0].image
            why = images.unreadable.get(image, f"image {image} is not here, though the journal names it")
            self._shell.meters.corrupt.inc()
            self.suspect(image, DiskCorrupt(why))
            self._heal()

    def _subjects(self) -> "list[Subject]":
        """Give the files that there are now, and the image that should be."""
        history, images = self._shell.node.durable.history, self._store.images.extents
        wanted = {history[0].image} if history else set()
        return [*sorted(self._store.journal.files), *sorted(wanted | set(images))]

    def _check(self, subject: "Subject") -> None:
        store = self._store
        try:
            if isinstance(subject, str):
                steps = check_image(store.disk, subject)
            elif (file := store.journal.files.get(subject)) is not None:
                steps = check_file(file)
            else:
                return
            for size in steps:
                self._shell.meters.scrubbed(size)
                self._thread.pause(size)
        except Unopened as error:
            log.warning("not scrubbed: %s", error)
        except (DiskCorrupt, FileNotFoundError) as error:
            self._shell.meters.corrupt.inc()
            self.suspect(subject, error)

    def _heal(self) -> None:
        """Mend what is damaged, as far as it is time for it."""
        if time.monotonic() < self._due:
            return
        for subject in [each for each in self.damaged if each not in self._hopeless]:
            if self._shell.failure is not None and not isinstance(self._shell.failure, DiskCorrupt):
                return
            self._attempt(subject)
        if self.damaged:
            self._due = time.monotonic() + self._thread.pace.retry_s

    def _attempt(self, subject: "Subject") -> None:
        try:
            missing = self._image(subject) if isinstance(subject, str) else self._file(subject)
        except (Unsettled, Exhausted, Unopened) as error:
            missing = str(error)
        except (DiskCorrupt, DiskFailed, OSError) as error:
            self._hopeless.add(subject)
            missing = str(error)
            self._shell.fail(error)
        if missing:
            self.damaged[subject] = missing
        else:
            self.damaged.pop(subject, None)

    def _image(self, image: str) -> str:
        """Fetch an image anew; give what is left to say."""
        if not self._thread.ask(self._shell.fetch_image(image)):
            return f"image {image[:12]} is missing or damaged, and no other member gives it"
        self._mended("image %s", image[:12])
        return ""

    def _file(self, number: int) -> str:
        """Mend a journal file; give what is left to say."""
        shell, journal = self._shell, self._store.journal
        file = journal.files.get(number)
        if file is None:
            return ""
        found, missing = survey_journal(journal, number), ""
        mended = [known for known in found.known if known.file == number]
        pieces: list[Piece] = [known.piece for known in mended]
        filled = []
        for hole in [hole for hole in found.holes if hole.file == number]:
            live, durable = journal.live(hole), shell.node.readable
            got = self._thread.ask(fetch_log(shell, hole, live, durable=durable, epoch=shell.node.durable.epoch))
            if got is None:
                missing = f"log [{hole.lsn}, {live}) in journal file {number} is damaged, and no other member gives it"
                if live > durable:
                    shell.fail(LogDamaged(hole.lsn, number))
                    with shell.lock:
                        shell.node.serving.salvage(shell.node.durable)
            else:
                pieces += got
                filled.append(hole)
        try:
            own = file.reopen()
        except OSError as error:  # nothing was written
            return f"journal file {number} is damaged, and cannot be opened to be mended: {error.strerror}"
        with closing(own), self._shell.lending.withheld() if self._shell.lending else nullcontext():
            put(own, pieces)
        for hole in filled:
            journal.recut(hole)
        for _ in (*mended, *filled):
            self._mended("journal file %d", number)
        return missing

    def _mended(self, what: str, *which: object) -> None:
        self.repaired += 1
        self._shell.meters.repaired()
        log.info("mended a damaged place of " + what, *which)
