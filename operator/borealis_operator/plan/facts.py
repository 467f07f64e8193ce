"""What one pass saw: the live state of one cluster, read afresh, and the latest word of its agents.

Facts are never kept beyond the pass; the only memory is `Asked`, which stops two readers from being promoted at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from borealis_engine.contract.status import InstanceStatus, Role, StorageStatus
from borealis_engine.contract.volume import VolumeConfig

from borealis_operator.api.classes import DEFAULT_CLASSES, Resources
from borealis_operator.api.clients import Peer
from borealis_operator.api.cluster import Cluster
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.instance import Instance
from borealis_operator.api.names import INSTANCE, STORAGE
from borealis_operator.api.snapshot import Snapshot

Manifest: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Kubernetes node; `zone` is empty if it bears no zone label, `hostname` is what pods can select it by."""

    name: str
    hostname: str
    zone: str
    ready: bool
    schedulable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The latest word of the process in a pod, seconds on a clock that runs only while the operator runs."""

    status: InstanceStatus | StorageStatus | None = None
    suspect: bool = False  # a reset or a silent second, and a probe that failed
    refused: bool = False  # the last failed probe was refused: the host lives, the process does not listen
    silent_for: float = 0.0
    role_for: float = 0.0
    outdated: bool = False  # of a release that takes no settings

    @property
    def unheard(self) -> bool:
        """Neither heard nor asked in vain: it may be anything, the writer too."""
        return self.status is None and not self.suspect


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of the cluster. `ip` is empty until it has one; `created` in seconds since 1970."""

    name: str
    uid: str
    component: str
    instance: str
    node: str
    zone: str
    ip: str
    phase: str
    terminating: bool
    unschedulable: bool
    created: float
    role: str
    agent: Agent = Agent()

    @property
    def over(self) -> bool:
        """All its containers have ended for good."""
        return self.phase in ("Failed", "Succeeded")

    @property
    def instance_status(self) -> InstanceStatus | None:
        """What its agent says, unless it is suspected dead."""
        status = self.agent.status
        return status if isinstance(status, InstanceStatus) and not self.agent.suspect else None

    @property
    def storage_status(self) -> StorageStatus | None:
        """What its storage node says, unless it is suspected dead."""
        status = self.agent.status
        return status if isinstance(status, StorageStatus) and not self.agent.suspect else None

    def plays(self, role: Role) -> bool:
        """Whether its agent lives and is in `role`."""
        status = self.instance_status
        return status is not None and status.role is role


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The volume configuration as the API holds it; changed only by compare-and-swap on `resource_version`."""

    config: VolumeConfig
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripped:
    """An object that lost labels by which it is found; the facts show it with them."""

    kind: str
    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whom this operator last asked to become the writer, and how many seconds ago."""

    pod: str
    ago: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a pass may base a decision on. `now` in seconds since 1970, `entropy` fresh for each pass."""

    cluster: Cluster
    now: float
    entropy: str
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    instances: tuple[Instance, ...] = ()
    volume: Volume | None = None
    objects: Mapping[tuple[str, str], Manifest]  # live objects by (kind, name)
    user_secret: Manifest | None = None  # the user's own, if one is named and found
    asked: Asked | None = None
    snapshots: tuple[Snapshot, ...] = ()
    stripped: tuple[Stripped, ...] = ()
    remembered: Mapping[str, VolumeConfig] = field(default_factory=dict)  # by member, while there is no `volume`
    faults: tuple[ConfigInvalid, ...] = ()  # fields that are wrong, for which something else stands in
    classes: Mapping[str, Resources] = field(default_factory=lambda: DEFAULT_CLASSES)
    operator_peer: Peer | None = None  # the operator's pods; None: clusters get no NetworkPolicy
    waited: Mapping[str, float] = field(default_factory=dict)  # seconds that members have been waited for, by id
    taken: frozenset[str] = frozenset()  # names of all DBInstances of the namespace, also of other clusters

    @property
    def storage_pods(self) -> tuple[Pod, ...]:
        """Pods of storage nodes."""
        return tuple(p for p in self.pods if p.component == STORAGE)

    @property
    def member_pods(self) -> tuple[Pod, ...]:
        """Pods of the volume's members; all storage pods before it is known who they are.

        One that joins or has left is none of them: its word counts for no quorum.
        """
        names = {m.name for m in self.volume.config.members} if self.volume else None
        return tuple(p for p in self.storage_pods if names is None or p.name in names)

    @property
    def instance_pods(self) -> tuple[Pod, ...]:
        """Pods of instances."""
        return tuple(p for p in self.pods if p.component == INSTANCE)

    def live(self, kind: str, name: str) -> Manifest | None:
        """Give the live object, or None."""
        return self.objects.get((kind, name))

    @property
    def writer(self) -> Pod | None:
        """The pod that is the writer: of all that say so, the one with the highest epoch.

        One whose epoch is lower than that of a writer known before is fenced, although it may not know it yet.
        """
        claims = [p for p in self.instance_pods if p.plays(Role.WRITER)]
        highest = max(claims, key=_epoch, default=None)
        return highest if highest and _epoch(highest) >= self.cluster.status.epoch else None


def _epoch(pod: Pod) -> int:
    status = pod.instance_status
    return status.epoch if status else 0
