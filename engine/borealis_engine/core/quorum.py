"""Quorum arithmetic: four of six to write, and four to elect; while a member is replaced, of the old six and the new.

Four, not three, elect: any two sets of four of six meet, so one epoch is promised to one candidate. A joint
configuration asks for four of each of its two sixes, so whatever it decides meets what the configuration before it
and the one after it decide. Nothing else in the product counts members.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from borealis_engine.contract.volume import MEMBERS, WRITE_QUORUM, MemberId, VolumeConfig
from borealis_engine.core.messages import Position

BLOCKING = MEMBERS - WRITE_QUORUM + 1  # so many refusals and no quorum is left

Sixes: TypeAlias = tuple[frozenset[MemberId], ...]  # of each of them four must agree


def sixes(config: VolumeConfig) -> Sixes:
    """Give the sixes of a configuration: one, or the old and the new one while a member is replaced."""
    old = frozenset(member.id for member in config.members)
    if config.joining is None:
        return (old,)
    return (old, old - {config.joining.replaces} | {config.joining.member.id})


def joiner(config: VolumeConfig) -> MemberId | None:
    """Give who is joining."""
    return config.joining.member.id if config.joining is not None else None


def elects(sixes: Sixes, agreed: Collection[MemberId]) -> bool:
    """Say whether these promises (or consents) are enough."""
    return all(len(six.intersection(agreed)) >= WRITE_QUORUM for six in sixes)


def blocks(sixes: Sixes, refused: Collection[MemberId]) -> bool:
    """Say whether these refusals leave no quorum."""
    return any(len(six.intersection(refused)) >= BLOCKING for six in sixes)


def voters(answers: Mapping[MemberId, Position], joiner: MemberId | None) -> Mapping[MemberId, Position]:
    """Give the answers that count: not who is joining before it holds the newest entry that the others know.

    The entry's start is the recovery point of its reign, and nobody holds an entry who has not promised its epoch.
    """
    if joiner is None or joiner not in answers:
        return answers
    others = {member: position for member, position in answers.items() if member != joiner}
    newest = max((position.rank[0] for position in others.values()), default=0)
    position = answers[joiner]
    return answers if position.history and position.rank[0] >= newest else others


def covered(values: Iterable[int]) -> int:
    """Give the highest value that WRITE_QUORUM members of one six have reached; 0 if fewer report."""
    ordered = sorted(values, reverse=True)
    return ordered[WRITE_QUORUM - 1] if len(ordered) >= WRITE_QUORUM else 0


def covered_time(values: Iterable[float]) -> float:
    """Give the latest time at or after which WRITE_QUORUM members of one six were heard; minus infinity if fewer."""
    ordered = sorted(values, reverse=True)
    return ordered[WRITE_QUORUM - 1] if len(ordered) >= WRITE_QUORUM else float("-inf")
