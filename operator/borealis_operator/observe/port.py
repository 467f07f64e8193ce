"""The port to the agents: their latest word, and the few things that may be asked of them.

Commands raise `AgentDown` when there is no answer in time and `AgentRefused` when the answer is no.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec, InstanceStatus, StorageStatus
from borealis_engine.contract.volume import VolumeConfig

from borealis_operator.api.cluster import ClusterKey
from borealis_operator.plan.facts import Agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The operator's leaf certificate for one cluster, PEM."""

    cluster_uid: str
    ca: str
    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pod is, and who should be there: its name, the role of its certificate, the member on its disk."""

    address: str
    name: str
    role: str
    member: str = ""  # of a storage node


class Agents(Protocol):
    """All agents and storage nodes of all clusters, by pod uid."""

    async def follow(self, key: ClusterKey, credentials: Credentials, places: Mapping[str, Place]) -> None:
        """Listen to exactly these pods (by uid) of a cluster, and give new ones a moment to be heard."""
        ...

    def latest(self, uid: str) -> Agent:
        """Give the latest word of a pod."""
        ...

    async def read_status(self, uid: str) -> InstanceStatus | StorageStatus:
        """Ask a pod for its status now: whatever it says is not older than the question."""
        ...

    async def read_volume(self, uid: str) -> VolumeConfig:
        """Ask a storage node for the volume configuration that it holds."""
        ...

    async def push_volume(self, uid: str, config: VolumeConfig) -> None:
        """Tell a pod the volume configuration."""
        ...

    async def promote(self, uid: str) -> None:
        """Ask an instance to become the writer."""
        ...

    async def set_database(self, uid: str, database: DatabaseSpec) -> None:
        """Have the writer make roles, password and first database true."""
        ...

    async def set_settings(self, uid: str, settings: Settings) -> None:
        """Have an instance take PostgreSQL's parameters; AgentOutdated if its release knows of none."""
        ...

    async def forget(self, key: ClusterKey) -> None:
        """Cease to listen to a cluster."""
        ...
