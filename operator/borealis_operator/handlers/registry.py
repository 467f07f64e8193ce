"""The handlers: what kopf calls, and what they call in turn."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import kopf

from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import KubeError
from borealis_operator.api.fields import section
from borealis_operator.api.names import GROUP, LABEL_CLUSTER, LABEL_MANAGED, MANAGER, VERSION
from borealis_operator.kube.credentials import find_credentials
from borealis_operator.kube.port import Kube
from borealis_operator.reconcile.kicks import Kicks
from borealis_operator.reconcile.metrics import CLUSTERS, PASSES
from borealis_operator.reconcile.orphans import tend_orphaned_instance, until_said
from borealis_operator.reconcile.reconciler import Reconciler
from borealis_operator.reconcile.removal import Remover
from borealis_operator.reconcile.snapshots import tend_orphan

log = logging.getLogger(__name__)

REMOVAL_S: Final = 0.5
CRASHED_S: Final = 5.0
CHILDREN: Final = (("", "v1", "pods"), ("", "v1", "services"), ("discovery.k8s.io", "v1", "endpointslices"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the handlers need."""

    kube: Kube
    kicks: Kicks[ClusterKey]
    reconciler: Reconciler
    remover: Remover


def make_registry(wiring: Wiring) -> kopf.OperatorRegistry:
    """Register all handlers."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(find_credentials)
    _wire_clusters(registry, wiring)
    _wire_children(registry, wiring)
    _wire_snapshots(registry, wiring)
    return registry


def _wire_clusters(registry: kopf.OperatorRegistry, wiring: Wiring) -> None:
    @kopf.daemon(GROUP, VERSION, "dbclusters", registry=registry, cancellation_backoff=2.0, cancellation_timeout=5.0)
    async def cluster(namespace: str | None, name: str, stopped: kopf.DaemonStopped, **_: Any) -> None:
        key = ClusterKey(namespace=namespace or "", name=name)
        wiring.kicks.expect(key)
        while not stopped:
            delay = await wiring.reconciler.once(key)
            await _kick_or_stop(wiring.kicks, key, stopped, timeout=delay)

    @kopf.on.event(GROUP, VERSION, "dbclusters", registry=registry)
    async def kick(namespace: str | None, name: str, **_: Any) -> None:
        wiring.kicks.kick(ClusterKey(namespace=namespace or "", name=name))

    @kopf.on.delete(GROUP, VERSION, "dbclusters", registry=registry)
    async def remove(namespace: str | None, name: str, **_: Any) -> None:
        key = ClusterKey(namespace=namespace or "", name=name)
        wiring.kicks.expect(key)
        while (delay := await remove_once(wiring, key)) is not None:
            await wiring.kicks.wait(key, timeout=delay)
        wiring.kicks.forget(key)
        CLUSTERS.forget(key)
        log.info("%s is deleted", key)


async def _kick_or_stop(
    kicks: Kicks[ClusterKey], key: ClusterKey, stopped: kopf.DaemonStopped, *, timeout: float
) -> None:
    """Wait for a kick, for the end of the daemon, or for `timeout` seconds."""
    waits = [asyncio.create_task(kicks.wait(key, timeout=timeout)), asyncio.ensure_future(_stop(stopped))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _stop(stopped: kopf.DaemonStopped) -> None:
    await stopped.wait(None)


async def remove_once(wiring: Wiring, key: ClusterKey) -> float | None:
    """Serve on while Snapshots hold the cluster, else remove what is due; None when nothing is left."""
    try:
        if await wiring.remover.held(key):
            return await wiring.reconciler.once(key)
        return None if await wiring.remover.once(key) else REMOVAL_S
    except KubeError as error:
        log.warning("deletion of %s: %s", key, error)
        await asyncio.sleep(REMOVAL_S)
        return REMOVAL_S
    except Exception:  # the deletion goes on, and a database that Snapshots hold is looked after meanwhile
        PASSES.labels("crashed").inc()
        log.exception("deletion of %s crashed", key)
        await asyncio.sleep(CRASHED_S)
        return REMOVAL_S


def _wire_children(registry: kopf.OperatorRegistry, wiring: Wiring) -> None:
    async def child(namespace: str | None, labels: Mapping[str, str], **_: Any) -> None:
        wiring.kicks.kick(ClusterKey(namespace=namespace or "", name=labels.get(LABEL_CLUSTER, "")))

    for resource in CHILDREN:
        kopf.on.event(*resource, registry=registry, labels={LABEL_MANAGED: MANAGER})(child)

    @kopf.on.event(GROUP, VERSION, "dbinstances", registry=registry)
    async def instance(event: kopf.RawEvent, namespace: str | None, name: str, body: kopf.Body, **_: Any) -> None:
        key = ClusterKey(namespace=namespace or "", name=str(section(body, "spec").get("clusterName", "")))
        wiring.kicks.kick(key)
        if event["type"] == "DELETED" or wiring.kicks.expects(key):
            return
        await until_said(f"DBInstance {name}", lambda: tend_orphaned_instance(wiring.kube, dict(body), now=time.time()))


def _wire_snapshots(registry: kopf.OperatorRegistry, wiring: Wiring) -> None:
    @kopf.on.event(GROUP, VERSION, "snapshots", registry=registry)
    async def snapshot(event: kopf.RawEvent, namespace: str | None, name: str, body: kopf.Body, **_: Any) -> None:
        cluster = str(section(body, "spec").get("clusterName", ""))
        wiring.kicks.kick(ClusterKey(namespace=namespace or "", name=cluster))
        if event["type"] == "DELETED":
            return
        await until_said(f"Snapshot {name}", lambda: tend_orphan(wiring.kube, dict(body), now=time.time()))
