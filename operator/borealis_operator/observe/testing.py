"""A little world for tests: nodes, a kubelet that starts pods at once, storage nodes and agents that obey.

It keeps the promises of the real ones that the operator builds on: an epoch has one owner, a new writer ends the old
one's reign, readers follow, and a pod that is gone or unplugged says nothing.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from borealis_engine.contract import names
from borealis_engine.contract.extensions import extension_place
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import (
    DatabaseSpec,
    InstanceStatus,
    Role,
    StorageState,
    StorageStatus,
)
from borealis_engine.contract.volume import VolumeConfig

from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import AgentDown, AgentOutdated, AgentRefused
from borealis_operator.api.names import ANNOTATION_NODE, LABEL_COMPONENT, LABEL_HOSTNAME, LABEL_ZONE, STORAGE
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.observe.port import Credentials, Place
from borealis_operator.plan.facts import Agent


@dataclass(slots=True, kw_only=True)
class FakeWorld:
    """The port `Agents`, and the Kubernetes nodes under it."""

    kube: FakeKube
    statuses: dict[str, InstanceStatus | StorageStatus] = field(default_factory=dict)  # by pod uid
    unplugged: dict[str, float] = field(default_factory=dict)  # pod uid to seconds of silence
    epoch: int = 1
    lsn: int = 0x1000000
    asked: list[str] = field(default_factory=list)  # pods that were asked to promote
    deaf: set[str] = field(default_factory=set)  # pods that do not obey
    outdated: set[str] = field(default_factory=set)  # pods that know of no settings
    unknown: dict[str, str] = field(default_factory=dict)  # parameters that PostgreSQL refuses, and why
    restart_only: set[str] = field(default_factory=set)  # parameters that it takes at its start only
    stuck: set[str] = field(default_factory=set)  # parameters with which it does not become ready
    disks: dict[str, str] = field(default_factory=dict)  # claim uid to the member that its disk was formatted as
    configs: dict[str, VolumeConfig] = field(default_factory=dict)  # by pod uid
    no_access: str = ""  # why no database specification can be made true
    refused_extensions: dict[str, str] = field(default_factory=dict)  # by place, as statuses name it
    slow: set[str] = field(default_factory=set)  # names of storage pods that do not catch up
    _refusing: set[str] = field(default_factory=set)  # outdated ones that were asked
    _started: dict[str, Settings] = field(default_factory=dict)  # by pod uid: with what its container was made
    _addresses: Any = field(default_factory=lambda: itertools.count(1))
    _followed: dict[str, Place] = field(default_factory=dict)

    def add_nodes(self, zones: Mapping[str, int]) -> None:
        """Add ready nodes: how many in each zone."""
        for zone, count in zones.items():
            for number in range(count):
                name = f"node-{zone}{number}"
                labels = {LABEL_HOSTNAME: f"{name}.local"} | ({LABEL_ZONE: zone} if zone else {})
                metadata = {"name": name, "labels": labels, "namespace": ""}
                status = {"conditions": [{"type": "Ready", "status": "True"}]}
                self.kube.put({"kind": "Node", "metadata": metadata, "spec": {}, "status": status})

    def run(self) -> None:
        """Start pods that have not been started, and let agents move on by one step."""
        pods = [o for (kind, _, _), o in self.kube.objects.items() if kind == "Pod"]
        for pod in pods:
            if not (pod.get("status") or {}).get("podIP"):
                self._start(pod)
        for uid in set(self.statuses) - {p["metadata"]["uid"] for p in pods}:
            self.statuses.pop(uid)
        self._step()

    def unplug(self, uid: str, *, silent_for: float) -> None:
        """Cut a pod off from the operator; its reign, if it has one, goes on."""
        self.unplugged[uid] = silent_for

    def die(self, uid: str) -> None:
        """End the process in a pod; its container starts again as a fresh reader at the next `run`."""
        status = self.statuses[uid]
        assert isinstance(status, InstanceStatus)
        fresh = replace(status, role=Role.ATTACHING, ready=False, epoch=0, database="", access="")
        self.statuses[uid] = self._configured(fresh, self._started[uid], self._started[uid])

    def writers(self) -> list[str]:
        """Names of the pods that say they are the writer."""
        return [s.name for s in self.statuses.values() if isinstance(s, InstanceStatus) and s.role is Role.WRITER]

    async def follow(self, key: ClusterKey, credentials: Credentials, places: Mapping[str, Place]) -> None:
        """Listen to exactly these pods."""
        self._followed = dict(places)

    def latest(self, uid: str) -> Agent:
        """Give the latest word of a pod."""
        if uid not in self._followed:
            return Agent()
        status, silent = self.statuses.get(uid), self.unplugged.get(uid)
        if silent is None and status is not None:
            return Agent(status=status, outdated=uid in self._refusing)
        return Agent(status=status, suspect=True, silent_for=silent or 0.0)

    async def read_status(self, uid: str) -> InstanceStatus | StorageStatus:
        """Ask a pod for its status now."""
        return self._hear(uid)

    async def read_volume(self, uid: str) -> VolumeConfig:
        """Ask a storage node for the volume configuration that it holds."""
        self._hear(uid)
        if uid not in self.configs:
            raise AgentDown(uid)
        return self.configs[uid]

    async def push_volume(self, uid: str, config: VolumeConfig) -> None:
        """Tell a pod the volume configuration."""
        status = self._hear(uid)
        self.configs[uid] = max(config, self.configs.get(uid, config), key=lambda c: c.version)
        self.statuses[uid] = replace(status, generation=config.generation, revision=config.revision)

    async def promote(self, uid: str) -> None:
        """Elect an instance; it shows as writer after the next `run`."""
        status = self._hear(uid)
        assert isinstance(status, InstanceStatus)
        self.asked.append(status.name)
        self.epoch += 1
        self.statuses[uid] = replace(status, role=Role.PROMOTING, ready=False, epoch=self.epoch)

    async def set_database(self, uid: str, database: DatabaseSpec) -> None:
        """Make roles and first database true, unless PostgreSQL refuses it."""
        status = self._hear(uid)
        assert isinstance(status, InstanceStatus)
        if self.no_access:
            self.statuses[uid] = replace(status, access=self.no_access)
            raise AgentRefused(self.no_access)
        places = [extension_place(name, at) for at, names in database.extensions.items() for name in names]
        extensions = {place: self.refused_extensions.get(place, "") for place in places}
        self.statuses[uid] = replace(status, database=database.digest, access="", extensions=extensions)

    async def set_settings(self, uid: str, settings: Settings) -> None:
        """Take parameters, as far as that goes without a restart."""
        status = self._hear(uid)
        if uid in self.outdated:
            self._refusing.add(uid)
            raise AgentOutdated(uid)
        assert isinstance(status, InstanceStatus)
        if not status.ready:
            self._started[uid] = settings
        self.statuses[uid] = self._configured(status, settings, self._started[uid])

    async def forget(self, key: ClusterKey) -> None:
        """Cease to listen."""
        self._followed = {}

    def _hear(self, uid: str) -> InstanceStatus | StorageStatus:
        if uid in self.unplugged or uid in self.deaf or uid not in self.statuses:
            raise AgentDown(uid)
        return self.statuses[uid]

    def _start(self, pod: Object) -> None:
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        env = {e["name"]: e.get("value", "") for e in pod["spec"]["containers"][0]["env"]}
        config = self.configs[uid] = VolumeConfig.from_json(env[names.ENV_VOLUME])
        generation, revision = int(config.generation), config.revision
        storage = pod["metadata"]["labels"][LABEL_COMPONENT] == STORAGE
        place = self._place(pod)
        if (storage and self._claim(pod) is None) or not place:
            pod["status"] = {"phase": "Pending"}
            return
        pod["status"] = {"phase": "Running", "podIP": f"10.0.0.{next(self._addresses)}"}
        pod["spec"]["nodeName"] = place
        if not storage:
            fresh = InstanceStatus(name=name, role=Role.STARTING, generation=generation, revision=revision)
            settings = Settings.from_json(env.get(names.ENV_SETTINGS, "{}"))
            self._started[uid] = settings
            self.statuses[uid] = self._configured(fresh, settings, settings)
            return
        member = env[names.ENV_MEMBER_ID]
        state = self._mount(pod, member, may_format=env[names.ENV_FORMAT] == "true")
        self.statuses[uid] = StorageStatus(
            name=name, member=member, state=state, generation=generation, revision=revision
        )

    def _mount(self, pod: Object, member: str, *, may_format: bool) -> StorageState:
        """Give what a storage node finds on its disk, or makes of it."""
        claim = self._claim(pod)
        assert claim
        metadata = claim["metadata"]
        metadata.setdefault("annotations", {})[ANNOTATION_NODE] = pod["spec"]["nodeName"]
        if metadata["uid"] in self.disks:
            return StorageState.CURRENT if self.disks[metadata["uid"]] == member else StorageState.FAILED
        if not may_format:
            return StorageState.DISK_LOST
        self.disks[metadata["uid"]] = member
        return StorageState.EMPTY

    def _claim(self, pod: Object) -> Object | None:
        metadata = pod["metadata"]
        found = self.kube.objects.get(("PersistentVolumeClaim", metadata["namespace"], metadata["name"]))
        return None if found is None or found["metadata"].get("deletionTimestamp") else found

    def _configured(self, status: InstanceStatus, settings: Settings, started: Settings) -> InstanceStatus:
        """Give the status of an instance that was told `settings` and whose PostgreSQL was started with `started`."""
        differs = {n for n in self.restart_only if settings.parameters.get(n) != started.parameters.get(n)}
        refused = {n: why for n, why in self.unknown.items() if n in settings.parameters}
        return replace(status, settings=settings.digest, refused=refused, pending_restart=tuple(sorted(differs)))

    def _place(self, pod: Object) -> str:
        """Give the node of a disk that exists, else the first of the zone; empty if there is none."""
        claim = self._claim(pod)
        chosen = (claim["metadata"].get("annotations") or {}).get(ANNOTATION_NODE, "") if claim else ""
        zones = {
            name: (o["metadata"].get("labels") or {}).get(LABEL_ZONE, "")
            for (kind, _, name), o in sorted(self.kube.objects.items())
            if kind == "Node"
        }
        nodes = list(zones)
        if chosen:
            return chosen if chosen in nodes else ""
        terms = pod["spec"]["affinity"].get("nodeAffinity", {})
        for term in terms.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", ()):
            for match in term["matchExpressions"]:
                if match["key"] == LABEL_ZONE:
                    own = [n for n, zone in zones.items() if zone in match["values"]]
                    return min(own, key=lambda n: (self._crowd(pod, n), n), default="")
        return min(nodes, key=lambda n: (self._crowd(pod, n), n), default="")

    def _crowd(self, pod: Object, node: str) -> int:
        """Count the pods of the same kind on a node."""
        part = pod["metadata"]["labels"][LABEL_COMPONENT]
        pods = [
            o for (kind, _, _), o in self.kube.objects.items() if kind == "Pod" and o["spec"].get("nodeName") == node
        ]
        return sum(1 for p in pods if p["metadata"]["labels"][LABEL_COMPONENT] == part)

    def _step(self) -> None:
        """Promoting becomes writer and ends older reigns; readers follow; the rest attach once there is a writer."""
        reign = max((s.epoch for s in self.statuses.values() if isinstance(s, InstanceStatus)), default=0)
        for uid, status in self.statuses.items():
            if isinstance(status, StorageStatus) and reign and status.state is StorageState.EMPTY:
                if status.name in self.slow:
                    continue
                self.statuses[uid] = replace(status, state=StorageState.CURRENT)
            if not isinstance(status, InstanceStatus) or uid in self.unplugged:
                continue
            if status.role is Role.PROMOTING and status.epoch == reign:
                self.statuses[uid] = replace(status, role=Role.WRITER, ready=True, durable_lsn=self.lsn)
            elif status.role is Role.WRITER and status.epoch < reign:
                self.statuses[uid] = replace(status, role=Role.ATTACHING, ready=False, database="", access="")
            elif self.stuck & set(self._started[uid].parameters):
                continue
            elif status.role is Role.ATTACHING or (status.role is Role.STARTING and reign):
                followed = replace(status, epoch=reign, replay_lsn=self.lsn)
                self.statuses[uid] = replace(followed, role=Role.READER, ready=True)
