"""All links of this operator: one per pod, under the operator's own certificate of each cluster.

Peers are accepted when their chain ends at the cluster's authority; pods have addresses only, so names are not
checked.
"""

import asyncio
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from borealis_engine.contract.names import DATABASE, PROMOTE, SETTINGS, STATUS, VOLUME
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec, InstanceStatus, StorageStatus
from borealis_engine.contract.volume import VolumeConfig

from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import AgentDown, AgentOutdated, AgentRefused
from borealis_operator.observe.clock import RunningClock
from borealis_operator.observe.link import Link, parse_status
from borealis_operator.observe.port import Credentials
from borealis_operator.plan.facts import Agent

SETTLE_S: Final = 1.5
COMMAND_S: Final = 2.0
DATABASE_S: Final = 5.0


@dataclass(slots=True, kw_only=True)
class _Cluster:
    credentials: Credentials
    session: aiohttp.ClientSession
    links: dict[str, Link] = field(default_factory=dict)


class AgentLinks:
    """The port `Agents`, over HTTPS."""

    def __init__(self, on_change: Callable[[ClusterKey], None]) -> None:
        self._on_change = on_change
        self._clock = RunningClock()
        self._clusters: dict[ClusterKey, _Cluster] = {}

    async def follow(self, key: ClusterKey, credentials: Credentials, addresses: Mapping[str, str]) -> None:
        """Listen to exactly these pods (uid to IP) of a cluster, and give new ones a moment to be heard."""
        self._clock.start()
        cluster = self._clusters.get(key)
        if cluster and cluster.credentials != credentials:
            await self.forget(key)
            cluster = None
        if cluster is None:
            cluster = _Cluster(credentials=credentials, session=open_session(credentials))
            self._clusters[key] = cluster
        stale = [u for u, link in cluster.links.items() if addresses.get(u) != link.address]
        await asyncio.gather(*(cluster.links.pop(uid).close() for uid in stale))
        fresh = [uid for uid in addresses if uid not in cluster.links]
        for uid in fresh:
            cluster.links[uid] = self._link(key, cluster, addresses[uid])
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
            return parse_status(await self._command("GET", uid, STATUS, "", COMMAND_S))
        except (ValueError, TypeError) as error:
            raise AgentRefused(f"{STATUS} of pod {uid} is not a status: {error}") from error

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
            await cluster.session.close()

    async def close(self) -> None:
        """Close everything."""
        for key in list(self._clusters):
            await self.forget(key)
        await self._clock.stop()

    def _link(self, key: ClusterKey, cluster: _Cluster, address: str) -> Link:
        return Link(cluster.session, address, self._clock, lambda: self._on_change(key))

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
                    raise refusal(f"{method} {path} of {link.address}: {response.status} {text}")
                return await response.read()
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise AgentDown(f"{method} {path} of {link.address}: {error or 'no answer'}") from error


def open_session(credentials: Credentials) -> aiohttp.ClientSession:
    """Open an HTTP session that speaks as the operator of one cluster."""
    connector = aiohttp.TCPConnector(ssl=make_context(credentials), limit=0)
    return aiohttp.ClientSession(connector=connector, trust_env=False)


def make_context(credentials: Credentials) -> ssl.SSLContext:
    """Give the TLS context: our leaf, the cluster's authority, no host names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(cadata=credentials.ca)
    with tempfile.TemporaryDirectory() as folder:  # ssl reads keys from files alone; the folder is ours alone
        path = Path(folder, "operator.pem")
        path.write_text(credentials.certificate + credentials.key, encoding="ascii")
        context.load_cert_chain(path)
    return context
