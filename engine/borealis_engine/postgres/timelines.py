"""From the volume's epochs to PostgreSQL's timelines: which of them it may be told of, and where each one ends.

Pure. A reign that wrote nothing never was a timeline: its number is burnt. The invariant: the newest timeline is named
only once D covers its first record, END_OF_RECOVERY; a reader that were promoted on a timeline without one could panic.
(Of older reigns every byte is at or below an E, hence in whole records.)
"""

from collections.abc import Iterator
from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn, format_lsn
from borealis_engine.core.messages import History, Reign

FIRST_RECORD: Final = 96  # bytes: END_OF_RECOVERY (at most 56, aligned) with the page header before or inside it


def named_reigns(history: History, durable: Lsn) -> tuple[Reign, ...]:
    """Give the reigns that are timelines to PostgreSQL, oldest first: all, or all but the last.

    The last one is left out while its first record is not durable.
    (The core leaves reigns that wrote nothing out of a history; epoch 1 came with the image.)
    """
    last = history[-1]
    return history if len(history) == 1 or durable >= last.start + FIRST_RECORD else history[:-1]


def limit(history: History, timeline: Epoch) -> Lsn | None:
    """Give where `timeline` ends, also while its successor may not be named yet; None for the newest reign.

    Asked for each piece of log, for one of the last timelines: it costs nothing that there were thousands before.
    """
    end = None
    for reign in reversed(history):
        if reign.epoch <= timeline:
            break
        end = reign.start
    return end


def newest(named: tuple[Reign, ...]) -> Epoch:
    """Give the timeline to follow."""
    return named[-1].epoch


def following(named: tuple[Reign, ...], timeline: Epoch) -> tuple[Epoch, Lsn] | None:
    """Give (next timeline, where it forks off), or None if `timeline` is the newest; KeyError if it never was."""
    after = None
    for reign in reversed(named):
        if reign.epoch == timeline:
            return after
        after = (reign.epoch, reign.start)
    raise KeyError(timeline)


def render_history(named: tuple[Reign, ...], timeline: Epoch) -> bytes:
    """Give the history file of `timeline`: its ancestors with their ends; empty for a burnt one (access/timeline.c)."""
    reached = [reign for reign in named if reign.epoch <= timeline]
    if not reached or reached[-1].epoch != timeline:
        return b""
    ancestors, starts = reached[:-1], [reign.start for reign in reached[1:]]
    return b"".join(
        f"{reign.epoch}\t{format_lsn(end)}\tepoch {reign.epoch} ended\n".encode()
        for reign, end in zip(ancestors, starts, strict=True)
    )


def standby_files(named: tuple[Reign, ...]) -> Iterator[tuple[str, bytes]]:
    """Give (name, content) of the history files of a fresh standby, of 2 up to the newest timeline.

    PostgreSQL looks for the first number without one, and reads the one before alone: only that one has content
    (findNewestTimeLine, readTimeLineHistory in access/timeline.c).
    """
    last = newest(named)
    yield from burnt_files(Epoch(1), last)
    if last > 1:
        yield f"{last:08X}.history", render_history(named, last)


def burnt_files(timeline: Epoch, below: Epoch) -> Iterator[tuple[str, bytes]]:
    """Give (name, content) of empty history files between two numbers, for a standby that is on `timeline`.

    PostgreSQL takes the first number without one, from its own on: with these in place it is `below`. Those of its
    own timeline and below are there, however many they are.
    """
    for number in range(timeline + 1, below):
        yield f"{number:08X}.history", b""


def parse_switchpoint(content: str) -> tuple[int, Lsn]:
    """Give (parent timeline, switchpoint) from the last line of a history file that PostgreSQL wrote."""
    lines = (line for line in reversed(content.splitlines()) if line.strip() and not line.startswith("#"))
    parent, switchpoint = next(lines).split("\t")[:2]
    high, low = switchpoint.split("/")
    return int(parent), Lsn((int(high, 16) << 32) | int(low, 16))
