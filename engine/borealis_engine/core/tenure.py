"""The node's side of the lease: may somebody else than the promised owner be let in?

The owner serves reads while four nodes have heard it within the lease. A node that heard it neither consents to nor
promises another, so two owners never both believe in their lease; a restarted node cannot know when it heard the
owner and counts from its start.
"""

from typing import NamedTuple

from borealis_engine.contract.volume import Epoch
from borealis_engine.core.journal import DurableState, Resigned, Withdrawn
from borealis_engine.core.messages import Canvass, Consent, Position, Reason, Resign


class Before(NamedTuple):
    """A promise that another one has replaced; in force again if that one was void."""

    epoch: Epoch
    owner: str
    resigned: bool
    heard_at: float


class Tenure:
    """When the promised owner was heard last. Times are seconds of the node's monotonic clock."""

    __slots__ = ("_before", "_lease", "heard_at")

    def __init__(self, *, lease: float, now: float) -> None:
        self._lease = lease
        self._before: list[Before] = []  # promises given since the start that newer ones replaced
        self.heard_at = now  # when the promised owner was heard last, or somebody was promised

    def over(self, state: DurableState, now: float) -> bool:
        """Whether the promised owner needs no longer be respected."""
        return not state.promised or state.resigned or now - self.heard_at >= self._lease

    def free_for(self, owner: str, state: DurableState, now: float) -> bool:
        """Return whether `owner` may be let in: it is the promised owner itself, or that one is over."""
        return owner == state.owner or self.over(state, now)

    def consent(self, canvass: Canvass, state: DurableState, position: Position, now: float) -> Consent:
        """Return the answer to a canvass; it binds nobody."""
        reason = None
        if not self.free_for(canvass.owner, state, now):
            reason = Reason.LEASE
        elif canvass.epoch <= state.promised:
            reason = Reason.EPOCH
        granted, promised = reason is None, state.promised
        return Consent(epoch=canvass.epoch, granted=granted, reason=reason, promised=promised, position=position)

    def replace(self, state: DurableState) -> None:
        """A promise is about to take the place of the one in `state`."""
        self._before.append(Before(state.promised, state.owner, state.resigned, self.heard_at))

    def resign(self, resign: Resign, state: DurableState, *, joining: bool) -> Resigned | Withdrawn | None:
        """Let others in; take back a promise that was void all along, so that the owner before can have this node."""
        named = (resign.epoch, resign.owner)
        if resign.void:
            self._before = [p for p in self._before if (p.epoch, p.owner) != named]
        if named != (state.promised, state.owner) or state.resigned:
            return None
        if not resign.void or not self._before or joining:
            return Resigned(epoch=resign.epoch)
        epoch, owner, resigned, self.heard_at = self._before.pop()
        return Withdrawn(epoch=resign.epoch, promised=epoch, owner=owner, resigned=resigned)
