"""All links of this operator: one per pod, under the operator's own certificate of each cluster.

Peers are accepted when their chain ends at the cluster's authority and their certificate names the role that the pod
was made for (`belief`); pods have addresses only, so host names are not checked.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from borealis_engine.contract.names import DATABASE, PROMOTE, SETTINGS, STATUS, VOLUME
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec, InstanceStatus, StorageStatus
from borealis_engine.contract.volume import VolumeConfig

from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import AgentDown, AgentOutdated, AgentRefused
from borealis_operator.observe.belief import make_context, parse_status
from borealis_operator.observe.clock import RunningClock
from borealis_operator.observe.link import Link
from borealis_operator.observe.port import Credentials, Place
from borealis_operator.plan.facts import Agent

SETTLE_S: Final = 1.5
COMMAND_S: Final = 2.0
DATABASE_S: Final = 5.0


@dataclass(slots=True, kw_only=True)
class _Cluster:
    credentials: Credentials
    sessions: dict[str, aiohttp.ClientSession] = field(default_factory=dict)  # by role of the peer
    links: dict[str, Link] = field(default_factory=dict)


class AgentLinks:
    """The port `Agents`, over HTTPS."""

    def __init__(self, on_change: Callable[[ClusterKey], None]) -> None:
        self._on_change = on_change
        self._clock = RunningClock()
        self._clusters: dict[ClusterKey, _Cluster] = {}

    async def follow(self, key: ClusterKey, credentials: Credentials, places: Mapping[str, Place]) -> None:
        """Listen to exactly these pods (by uid) of a cluster, and give new ones a moment to be heard."""
        self._clock.start()
        cluster = self._clusters.get(key)
        if cluster and cluster.credentials != credentials:
            await self.forget(key)
            cluster = None
        if cluster is None:
            cluster = _Cluster(credentials=credentials)
            self._clusters[key] = cluster
        stale = [u for u, link in cluster.links.items() if places.get(u) != link.place]
        await asyncio.gather(*(cluster.links.pop(uid).close() for uid in stale))
        fresh = [uid for uid in places if uid not in cluster.links]
        for uid in fresh:
            cluster.links[uid] = self._link(key, cluster, places[uid])
        if fresh:
            waits = [asyncio.create_task(cluster.links[uid].decided.wait()) for uid in fresh]
            _, late = await asyncio.wait(waits, timeout=SETTLE_S)
            for task in late:
                task.cancel()

    def latest(self, uid: str) -> Agent:
        """Give the latest word of a pod."""
        link = self._find(uid)
        return link.agent if link else Agent()

    async def read_status(self, uid: str) -> InstanceStatus | StorageStatus:
        """Ask a pod for its status now."""
        try:
            answer = await self._command("GET", uid, STATUS, "", COMMAND_S)
            return parse_status(answer, self._place(uid))
        except ValueError as error:
            raise AgentRefused(f"{STATUS} of pod {uid} is not a status: {error}") from error

    async def read_volume(self, uid: str) -> VolumeConfig:
        """Ask a storage node for the volume configuration that it holds."""
        try:
            return VolumeConfig.from_json((await self._command("GET", uid, VOLUME, "", COMMAND_S)).decode())
        except (KeyError, ValueError, TypeError) as error:
            raise AgentRefused(f"{VOLUME} of pod {uid} is no configuration: {error!r}") from error

    async def push_volume(self, uid: str, config: VolumeConfig) -> None:
        """Tell a pod the volume configuration; one that knows a newer one keeps it."""
        await self._command("PUT", uid, VOLUME, config.to_json(), COMMAND_S)

    async def promote(self, uid: str) -> None:
        """Ask an instance to become the writer."""
        await self._command("POST", uid, PROMOTE, "{}", COMMAND_S)

    async def set_database(self, uid: str, database: DatabaseSpec) -> None:
        """Have the writer make roles, password and first database true."""
        await self._command("PUT", uid, DATABASE, database.to_json(), DATABASE_S)

    async def set_settings(self, uid: str, settings: Settings) -> None:
        """Have an instance take PostgreSQL's parameters; one of an older release is not asked again."""
        try:
            await self._command("PUT", uid, SETTINGS, settings.to_json(), COMMAND_S)
        except AgentOutdated:
            if link := self._find(uid):
                link.outdated = True
            raise

    async def forget(self, key: ClusterKey) -> None:
        """Close everything of one cluster."""
        cluster = self._clusters.pop(key, None)
        if cluster:
            await asyncio.gather(*(link.close() for link in cluster.links.values()))
            await asyncio.gather(*(session.close() for session in cluster.sessions.values()))

    async def close(self) -> None:
        """Close everything."""
        for key in list(self._clusters):
            await self.forget(key)
        await self._clock.stop()

    def _link(self, key: ClusterKey, cluster: _Cluster, place: Place) -> Link:
        if place.role not in cluster.sessions:
            cluster.sessions[place.role] = open_session(cluster.credentials, place.role)
        return Link(cluster.sessions[place.role], place, self._clock, lambda: self._on_change(key))

    def _place(self, uid: str) -> Place:
        link = self._find(uid)
        if link is None:
            raise AgentDown(f"{STATUS}: no link to pod {uid}")
        return link.place

    def _find(self, uid: str) -> Link | None:
        return next((c.links[uid] for c in self._clusters.values() if uid in c.links), None)

    async def _command(self, method: str, uid: str, path: str, body: str, timeout_s: float) -> bytes:
        link = self._find(uid)
        if link is None:
            raise AgentDown(f"{path}: no link to pod {uid}")
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        headers = {"Content-Type": "application/json"}
        request: dict[str, Any] = {"data": body, "headers": headers, "timeout": timeout}
        try:
            async with link.session.request(method, link.url + path, **request) as response:
                if response.status >= 400:
                    text = (await response.text())[:200]
                    refusal = AgentOutdated if response.status == 404 else AgentRefused
                    raise refusal(f"{method} {path} of {link.place.name}: {response.status} {text}")
                return await response.read()
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise AgentDown(f"{method} {path} of {link.place.name}: {error or 'no answer'}") from error


def open_session(credentials: Credentials, role: str) -> aiohttp.ClientSession:
    """Open an HTTP session that speaks as the operator of one cluster, with peers of one role alone."""
    connector = aiohttp.TCPConnector(ssl=make_context(credentials, role), limit=0)
    return aiohttp.ClientSession(connector=connector, trust_env=False)
