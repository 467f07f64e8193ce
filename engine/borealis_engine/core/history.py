"""Epoch histories: who owns which bytes of the log, and where two logs part.

A log is addressed by (epoch, LSN), and an epoch has one owner, who never writes two different bytes at one LSN.
So two logs agree up to the common point of their histories, whatever their bytes: no byte is ever compared.
"""

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.messages import History, Reign


def held(history: History, flush: Lsn) -> History:
    """Give the reigns of `history` whose start a log that ends at `flush` has reached."""
    if not history or history[-1].start <= flush:
        return history
    return tuple(reign for reign in history if reign.start <= flush)


def extend(history: History, epoch: Epoch, start: Lsn) -> History:
    """Give the history of a new reign `epoch` from `start`; reigns that wrote nothing below `start` are left out."""
    kept = tuple(reign for i, reign in enumerate(history) if i == 0 or reign.start < start)
    return (*kept, Reign(epoch=epoch, start=start))


def common_point(mine: History, flush: Lsn, theirs: History) -> Lsn | None:
    """Give the LSN below which a log (`mine`, ending at `flush`) agrees with `theirs`; None if nothing does.

    None means another image, or no log at all. `theirs` is open-ended: its last reign may have any length.
    """
    if not mine or not theirs or mine[0] != theirs[0]:
        return None
    last = 0
    while last + 1 < min(len(mine), len(theirs)) and mine[last + 1] == theirs[last + 1]:
        last += 1
    ends = [history[last + 1].start for history in (mine, theirs) if last + 1 < len(history)]
    return min([flush, *ends])


def epoch_of(history: History) -> Epoch:
    """Give the last reign's epoch; 0 for no history."""
    return history[-1].epoch if history else Epoch(0)
