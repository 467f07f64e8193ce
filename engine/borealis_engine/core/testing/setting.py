"""What all actors of one simulated world share."""

from dataclasses import dataclass

from borealis_engine.contract.volume import VolumeConfig
from borealis_engine.core.testing.clockwork import Clockwork
from borealis_engine.core.testing.network import Network
from borealis_engine.core.testing.oracle import Oracle


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The volume, its lease in seconds, and the world around it."""

    config: VolumeConfig
    lease: float
    world: Clockwork
    network: Network
    oracle: Oracle
