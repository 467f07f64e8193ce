"""The node's side of the lease: may somebody else than the promised owner be let in?

The owner serves reads while four nodes have heard it within the lease. A node that heard it neither consents to nor
promises another, so two owners never both believe in their lease; a restarted node cannot know when it heard the
owner and counts from its start.
"""

from typing import NamedTuple

from borealis_engine.contract.volume import Epoch
from borealis_engine.core.journal import DurableState


class Before(NamedTuple):
    """A promise that another one has replaced; in force again if that one was void."""

    epoch: Epoch
    owner: str
    resigned: bool
    heard_at: float


class Tenure:
    """When the promised owner was heard last. Times are seconds of the node's monotonic clock."""

    __slots__ = ("_lease", "heard_at")

    def __init__(self, *, lease: float, now: float) -> None:
        self._lease = lease
        self.heard_at = now  # when the promised owner was heard last, or somebody was promised

    def over(self, state: DurableState, now: float) -> bool:
        """Whether the promised owner needs no longer be respected."""
        return not state.promised or state.resigned or now - self.heard_at >= self._lease
