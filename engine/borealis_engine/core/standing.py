"""What the configuration makes of somebody, and how a newer one travels: nobody needs the Kubernetes API to learn it.

A message of another generation is refused with the whole configuration; the one who knows the older of the two adopts
the other, if it is well-formed and a possible successor, or two peers say the same (018). A member that the
configuration does not name any more is retired: it takes part in nothing.
"""

from typing import Final, TypeAlias

from borealis_engine.contract.volume import Member, MemberId, VolumeConfig, malformation
from borealis_engine.core.journal import NOBODY
from borealis_engine.core.messages import Reason, Refused

WITNESSES: Final = 2  # who must say the same before it is believed although it does not follow
Who: TypeAlias = tuple[tuple[str, str, str], ...]


def is_retired(config: VolumeConfig, member: MemberId) -> bool:
    """Whether another member has taken this one's place, or its joining was given up."""
    return all(known.id != member for known in config.everyone)


def retirement(config: VolumeConfig, member: MemberId) -> str:
    """Say why a member takes part in nothing; empty if it does."""
    return f"not a member of generation {config.generation} any more" if is_retired(config, member) else ""


def unfitness(before: VolumeConfig, after: VolumeConfig, member: MemberId, *, holds_log: bool) -> str:
    """Say why a member takes part in nothing after a change; empty if it does.

    One that joined may be made a member only when it holds the log: without, it would count as one that forgot.
    """
    joined = before.joining is not None and before.joining.member.id == member and after.joining is None
    gone = retirement(after, member)
    if not gone and joined and not holds_log:
        return f"a member of generation {after.generation} before it had caught up"
    return gone


def told(refused: Refused) -> VolumeConfig | None:
    """Give the configuration that comes with a refusal; None if none does."""
    if refused.reason is not Reason.CONFIG:
        return None
    try:
        return VolumeConfig.from_json(refused.config)
    except (KeyError, TypeError, ValueError):
        return None


def is_news(offered: VolumeConfig, known: VolumeConfig) -> bool:
    """Whether a configuration is of the same volume, newer than the one that is known, and well-formed."""
    newer = offered.cluster_uid == known.cluster_uid and offered.version > known.version
    return newer and not malformation(offered)


def _who(members: tuple[Member, ...]) -> Who:
    return tuple((member.id, member.name, member.zone) for member in members)


def is_next(offered: VolumeConfig, known: VolumeConfig) -> bool:
    """Whether the known configuration may be followed by this one at once: another address book, or the next step."""
    before, after = _who(known.members), _who(offered.members)
    joins, joined = known.joining, offered.joining
    if offered.generation == known.generation:
        return (after, joined and _who((joined.member,))) == (before, joins and _who((joins.member,)))
    if offered.generation != known.generation + 1 or not offered.sealed:
        return False
    if joins is None:
        return after == before and (joined is not None) == known.sealed
    swapped = tuple(joins.member if member.id == joins.replaces else member for member in known.members)
    return joined is None and after in (before, _who(swapped))


class Hearsay:
    """What peers say of the configuration: one may be mistaken, so one alone is believed only the next step."""

    def __init__(self) -> None:
        self._said: dict[str, VolumeConfig] = {}

    def believe(self, offered: VolumeConfig, known: VolumeConfig, source: str) -> bool:
        """Whether to adopt what `source` says now: news that may follow, or that another one has said as well."""
        if not is_news(offered, known):
            return False
        self._said[source] = offered
        mine = (offered.generation, _who(offered.everyone))
        same = [who for who, said in self._said.items() if (said.generation, _who(said.everyone)) == mine]
        return is_next(offered, known) or len(same) >= WITNESSES


def news(config: VolumeConfig) -> Refused:
    """Tell a member that knows an older configuration, as it would tell others."""
    generation, text = config.generation, config.to_json()
    message = f"generation {generation} is in force"
    return Refused(reason=Reason.CONFIG, promised=NOBODY, generation=generation, config=text, message=message)
