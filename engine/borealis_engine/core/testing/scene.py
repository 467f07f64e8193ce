"""What faults and scripts act upon."""

from dataclasses import dataclass

from borealis_engine.core.testing.agent import Agent
from borealis_engine.core.testing.clockwork import Clockwork
from borealis_engine.core.testing.network import Network
from borealis_engine.core.testing.operator import Operator
from borealis_engine.core.testing.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The actors of a schedule, and the network between them."""

    world: Clockwork
    network: Network
    nodes: list[Storage]
    agents: list[Agent]
    operator: Operator
