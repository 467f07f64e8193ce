"""Finds E after an election: the tail of the best log is read from its holder and scanned for the last record end.

R is persisted by the nodes and never guessed; only E, at or below it, comes from the records. A record that is half
there may have 1 GB: the log is read backwards in windows, so what is held is at most BACK + ALIGN bytes.
"""

from collections.abc import Callable, Mapping
from typing import Final

from borealis_engine.contract.volume import Lsn, MemberId, format_lsn
from borealis_engine.core.effects import SendTo, WriterEffect
from borealis_engine.core.history import epoch_of
from borealis_engine.core.messages import LogData, Message, Position, Read, Refused
from borealis_engine.core.tail import ALIGN, LogEnd, Scan

BACK: Final = 8 * ALIGN  # bytes that each window but the first begins before the last one


def choose_donor(promises: Mapping[MemberId, Position]) -> MemberId | None:
    """Give the member whose log is carried on: highest (last epoch, flush); None if no member holds any."""
    donor = max(promises, key=lambda member: promises[member].rank)
    return donor if promises[donor].history else None


def doubt(votes: Mapping[MemberId, Position], heard: Mapping[MemberId, Position]) -> str:
    """Say why nobody may be elected by these votes, given all that was heard; empty if nothing is missing.

    What four journals say is true. What a member knows beyond that (a D, log of somebody whose vote does not count)
    must be held by the best log among the votes: else log that was acknowledged is not there, or not there yet.
    """
    best = max(votes.values(), key=lambda position: position.rank)
    witness = max(heard, key=lambda member: heard[member].known)
    epoch, durable = heard[witness].known
    if durable and best.rank < (epoch, durable):
        end = f"ends at {format_lsn(best.flush)} of epoch {best.rank[0]}" if best.history else "is empty"
        known = f"{witness} knows D {format_lsn(durable)} of epoch {epoch}, the best log of those that answered {end}"
        return f"acknowledged commits are missing: {known}; bring back the members that are missing"
    if not best.history:
        holders = [member for member, position in heard.items() if position.history]
        return f"{holders[0]} holds log of this volume, those that could elect hold none" if holders else ""
    image = best.history[0].image
    if not any(each.image_here and each.history and each.history[0].image == image for each in heard.values()):
        why = f"no member that answered can read image {image[:12]} of this volume"
        return f"{why}: bring back one that can; the log is kept, and no new database is made"
    return ""


class Recovery:
    """Reads the donor's tail until the end is known: then `end` is set; or it failed: then `failure` says why."""

    def __init__(
        self, *, donor: MemberId, position: Position, scan: Scan, emit: Callable[[WriterEffect], None]
    ) -> None:
        self.donor = donor
        self.history = position.history
        self.end: LogEnd | None = None
        self.failure = ""
        self._flush = position.flush
        self._scan, self._emit = scan, emit
        self._tail = bytearray()
        if len(position.history) > 1 and position.history[-1].start == position.flush:
            self.end = LogEnd(end=position.flush)  # a reign that wrote nothing starts at a record end
        else:
            self._ask(Lsn((position.flush - 1) // ALIGN * ALIGN), position.flush)

    def receive(self, message: Message) -> None:
        """Take what the donor sends."""
        match message:
            case LogData(lsn=lsn, data=data, last=last):
                if lsn != self._start + len(self._tail):
                    self.failure = f"donor {self.donor} sent log at {lsn} out of order"
                    return
                self._tail += data
                if last:
                    self._judge()
            case Refused(message=why):
                self.failure = f"donor {self.donor} refused: {why}"
            case _:
                pass

    def _ask(self, start: Lsn, upto: Lsn) -> None:
        self._start, self._upto = max(self.history[0].start, start), upto
        self._tail.clear()
        read = Read(epoch=epoch_of(self.history), start=self._start, upto=upto)
        self._emit(SendTo(member=self.donor, message=read))

    def _judge(self) -> None:
        if self._start + len(self._tail) != self._upto:
            self.failure = f"donor {self.donor} holds less than it promised"
            return
        end = self._scan(self._start, bytes(self._tail))
        if end is None and self._start > self.history[0].start:
            # No record ends above here; what overlaps tells of an end on the border, and of a switch.
            self._ask(Lsn(self._start - BACK), min(self._flush, Lsn(self._start + ALIGN)))
        elif end is None or end.end < self.history[-1].start:
            self.failure = f"no record ends in the log of epoch {epoch_of(self.history)}"
        else:
            self.end = LogEnd(end=end.end, padding=max(0, end.end - self._flush))
            self._tail.clear()
