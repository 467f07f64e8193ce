"""How a node becomes a holder of a reign's entry: truncation at the common point, image, missing log, entry.

`next_step` decides from plain values what is still missing; the node carries it out and asks again. The order is:
image, truncation and entry (one record), log that came with the image, log of a donor, padding, log of the reign.
"""

from dataclasses import dataclass
from typing import TypeAlias

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.effects import ImageExtent
from borealis_engine.core.history import common_point
from borealis_engine.core.journal import NOWHERE, DurableState, Entered, Logged
from borealis_engine.core.messages import Begin, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class WantImage:
    """The blob is not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantImageLog:
    """[start, upto) came with the image."""

    start: Lsn
    upto: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class WantLog:
    """[start, upto) must come from the donor."""

    start: Lsn
    upto: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Nothing is missing."""


Step: TypeAlias = Entered | Logged | WantImage | WantImageLog | WantLog | Complete


def claim(state: DurableState, *, known: tuple[Epoch, Lsn], image_here: bool) -> Position:
    """Give what a node may claim in an election: nothing before all log that came with its image is there.

    The journal alone says so, whatever became of the blob: the first reign begins where the image's log ends.
    """
    epoch, durable = known
    history, flush = state.held, state.flush
    if len(history) < 2:
        history, flush = (), NOWHERE
    return Position(history=history, flush=flush, durable_epoch=epoch, durable=durable, image_here=image_here)


def objection(begin: Begin, state: DurableState, durable: Lsn) -> str:
    """Say why a node must not join the reign of `begin`, a D of `durable` being known; empty if it may."""
    if len(begin.history) < 2 or begin.history[-1].epoch != begin.epoch:
        return "a history that does not end with its own reign"
    if durable and state.history[:1] != begin.history[:1]:
        return f"epoch {begin.epoch} has another image and would void log that was acknowledged here up to {durable}"
    return ""


def next_step(begin: Begin, state: DurableState, extent: ImageExtent | None) -> Step:
    """Say what comes next on the way to `begin`, for a log in `state` and the image's `extent` (None: not here)."""
    if extent is None:
        return WantImage()
    if state.history != begin.history:
        common = common_point(state.held, state.flush, begin.history)
        return Entered(history=begin.history, end=begin.history[0].start if common is None else common)
    return _next_log(begin, state.flush, extent)


def _next_log(begin: Begin, flush: Lsn, extent: ImageExtent) -> Step:
    start = begin.history[-1].start
    if flush < min(extent.end, start):
        return WantImageLog(start=flush, upto=min(extent.end, start))
    if flush < start - begin.zeros:
        return WantLog(start=flush, upto=Lsn(start - begin.zeros))
    if flush < start:
        return Logged(lsn=flush, data=bytes(start - flush))
    if flush < begin.upto:
        return WantLog(start=flush, upto=Lsn(begin.upto))
    return Complete()
