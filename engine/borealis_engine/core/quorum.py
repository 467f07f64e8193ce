"""Quorum arithmetic over a fixed membership of six: four to write, and four to elect.

Four, not three, elect: any two sets of four of six meet, so one epoch is promised to one candidate.
"""

from collections.abc import Iterable

from borealis_engine.contract.volume import MEMBERS, WRITE_QUORUM

BLOCKING = MEMBERS - WRITE_QUORUM + 1  # so many refusals and no quorum is left


def covered(values: Iterable[int]) -> int:
    """Give the highest value that WRITE_QUORUM members have reached; 0 if fewer report."""
    ordered = sorted(values, reverse=True)
    return ordered[WRITE_QUORUM - 1] if len(ordered) >= WRITE_QUORUM else 0


def covered_time(values: Iterable[float]) -> float:
    """Give the latest time at or after which WRITE_QUORUM members were heard; minus infinity if fewer were."""
    ordered = sorted(values, reverse=True)
    return ordered[WRITE_QUORUM - 1] if len(ordered) >= WRITE_QUORUM else float("-inf")


def elects(count: int) -> bool:
    """Say whether so many promises (or consents) are enough."""
    return count >= WRITE_QUORUM


def blocks(count: int) -> bool:
    """Say whether so many refusals leave no quorum."""
    return count >= BLOCKING
