"""What the configuration makes of somebody, and how a newer one travels: nobody needs the Kubernetes API to learn it.

A message of another generation is refused with the whole configuration; the one who knows the older of the two adopts
the other. A member that the configuration does not name any more is retired: it takes part in nothing.
"""

from borealis_engine.contract.volume import MemberId, VolumeConfig
from borealis_engine.core.journal import NOBODY
from borealis_engine.core.messages import Reason, Refused


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
    """Whether a configuration is of the same volume, and newer than the one that is known."""
    return offered.cluster_uid == known.cluster_uid and offered.version > known.version


def news(config: VolumeConfig) -> Refused:
    """Tell a member that knows an older configuration, as it would tell others."""
    generation, text = config.generation, config.to_json()
    message = f"generation {generation} is in force"
    return Refused(reason=Reason.CONFIG, promised=NOBODY, generation=generation, config=text, message=message)
