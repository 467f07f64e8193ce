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
    """Give where `timeline` ends, also while its successor may not be named yet; None for the newest reign."""
    return next((reign.start for reign in history if reign.epoch > timeline), None)


def newest(named: tuple[Reign, ...]) -> Epoch:
    """Give the timeline to follow."""
    return named[-1].epoch


def following(named: tuple[Reign, ...], timeline: Epoch) -> tuple[Epoch, Lsn] | None:
    """Give (next timeline, where it forks off), or None if `timeline` is the newest; KeyError if it never was."""
    epochs = [reign.epoch for reign in named]
    if timeline not in epochs:
        raise KeyError(timeline)
    after = epochs.index(timeline) + 1
    return (named[after].epoch, named[after].start) if after < len(named) else None


def render_history(named: tuple[Reign, ...], timeline: Epoch) -> bytes:
    """Give the history file of `timeline`: its ancestors with their ends; empty for a burnt one (access/timeline.c)."""
    if timeline not in [reign.epoch for reign in named]:
        return b""
    ancestors = [reign for reign in named if reign.epoch < timeline]
    starts = [reign.start for reign in named if reign.epoch <= timeline][1:]
    return b"".join(
        f"{reign.epoch}\t{format_lsn(end)}\tepoch {reign.epoch} ended\n".encode()
        for reign, end in zip(ancestors, starts, strict=True)
    )


def history_files(named: tuple[Reign, ...], *, below: Epoch) -> Iterator[tuple[str, bytes]]:
    """Give (name, content) of the history files of 2 up to, and not including, `below`; burnt ones are empty.

    PostgreSQL takes the first timeline without a history file: with all of these in place it is `below`.
    """
    for number in range(2, below):
        yield f"{number:08X}.history", render_history(named, Epoch(number))


def parse_switchpoint(content: str) -> tuple[int, Lsn]:
    """Give (parent timeline, switchpoint) from the last line of a history file that PostgreSQL wrote."""
    lines = [line.split("\t") for line in content.splitlines() if line.strip() and not line.startswith("#")]
    parent, switchpoint = lines[-1][:2]
    high, low = switchpoint.split("/")
    return int(parent), Lsn((int(high, 16) << 32) | int(low, 16))
