"""The operator as it is, framework included, upon an API server that remembers what it was asked.

Agents and kubelets are the operator's own test doubles; everything that goes over the wire is real.
"""

import asyncio
import contextlib
import copy
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kopf
import yaml
from aiohttp import web
from borealis_local.server.http import Server
from borealis_local.server.paths import target
from borealis_local.server.store import Group, Key
from borealis_local.server.writes import Options
from borealis_local.testing import MemoryApi
from borealis_operator.api.catalogue import Catalogue
from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import KubeDown
from borealis_operator.handlers.registry import Wiring, make_registry
from borealis_operator.handlers.settings import make_settings
from borealis_operator.kube.client import ApiServer, connect
from borealis_operator.kube.lease import Lease
from borealis_operator.observe.testing import FakeWorld
from borealis_operator.reconcile.kicks import Kicks
from borealis_operator.reconcile.reconciler import Reconciler
from borealis_operator.reconcile.removal import Remover

from tests.repository import ROOT

OWN = "borealis.dev/v1alpha1"
PODS, CLAIMS, NODES = Group("", "pods"), Group("", "persistentvolumeclaims"), Group("", "nodes")
KINDS = {PODS: "Pod", CLAIMS: "PersistentVolumeClaim", NODES: "Node"}
PEER = {"podSelector": {"matchLabels": {"app": "operator"}}, "namespaceSelector": {"matchLabels": {"name": "system"}}}
Right = tuple[str, str, str]  # group, resource, verb


@dataclass(kw_only=True)
class Ears:
    """Notes which right each request needs, as the API server's authorizer would ask for it."""

    api: MemoryApi
    heard: set[Right] = field(default_factory=set)

    @web.middleware
    async def listen(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Note a request and let it pass."""
        if len(request.path.strip("/").split("/")) > 3 or request.path.count("/") > 2:
            self.heard |= set(self._rights(request))
        answer: web.StreamResponse = await handler(request)
        return answer

    def _rights(self, request: web.Request) -> Iterator[Right]:
        try:
            found = target(request.path, self.api.registry)
        except Exception:  # noqa: BLE001  # discovery: no object is asked for
            return
        plural = f"{found.resource.plural}/{found.subresource}" if found.subresource else found.resource.plural
        yield found.resource.group, plural, _verb(request, named=bool(found.name))
        applied = "apply" in request.content_type
        if applied and self.api.store.get(Key(found.resource.store, found.namespace, found.name)) is None:
            yield found.resource.group, plural, "create"  # an apply that makes the object must be allowed to


def _verb(request: web.Request, *, named: bool) -> str:
    if request.method == "GET" and not named:
        return "watch" if request.query.get("watch") in ("true", "1") else "list"
    verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}
    return verbs.get(request.method) or ("delete" if named else "deletecollection")


class Objects:
    """What the double of the world needs of the double of the API, upon an API server."""

    def __init__(self, api: MemoryApi) -> None:
        self._api = api
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}

    def fetch(self) -> None:
        """Read pods, claims and nodes; those that are to go are gone, as no kubelet and no controller holds them."""
        for group in (PODS, CLAIMS):
            for each in self._api.store.list(group):
                if "deletionTimestamp" in (metadata := each["metadata"]):
                    self._api.store.delete(Key(group, metadata["namespace"], metadata["name"]))
        self.objects = {
            (kind, live["metadata"].get("namespace", ""), live["metadata"]["name"]): copy.deepcopy(live)
            for group, kind in KINDS.items()
            for live in self._api.store.list(group)
        }

    def keep(self) -> None:
        """Write what has changed."""
        groups = {kind: group for group, kind in KINDS.items()}
        for (kind, namespace, name), changed in self.objects.items():
            key = Key(groups[kind], namespace, name)
            live = self._api.store.get(key)
            version = changed["metadata"]["resourceVersion"]
            if live is not None and live["metadata"]["resourceVersion"] == version and live != changed:
                self._api.store.put(key, changed)


@dataclass(kw_only=True)
class Play:
    """A running operator, and what a test does to its world."""

    api: MemoryApi
    ears: Ears
    world: FakeWorld
    client: ApiServer
    objects: Objects
    kicks: Kicks[ClusterKey]
    key: ClusterKey
    reconciler: Reconciler

    def status(self) -> dict[str, Any]:
        """Give the status of the cluster."""
        return dict((self.api.find("DBCluster", self.key.name, api=OWN) or {}).get("status") or {})

    def change(self, kind: str, name: str, change: dict[str, Any], *, api: str = OWN) -> None:
        """Merge a change into an object's spec and metadata, as a user does."""
        resource = self.api.kind(api, kind)
        live = self.api.find(kind, name, api=api)
        assert live is not None, f"no {kind} {name}"
        self.api.writes.update(resource, "default", name, _merged(copy.deepcopy(live), change), Options(manager="user"))

    async def until(self, condition: Callable[[], Any], why: str, *, seconds: float = 60.0) -> None:
        """Let the world move on until something holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{why}: {self.status()}"
            self.objects.fetch()
            self.world.run()
            self.objects.keep()
            self.kicks.kick(self.key)
            await asyncio.sleep(0.05)


def _merged(live: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


@asynccontextmanager
async def served(api: MemoryApi, ears: Ears, kubeconfig: Path) -> AsyncIterator[None]:
    """Serve an API on loopback, and write how to reach it."""
    application = Server(api, token="token", read_log=lambda _pod, _query: b"").application()
    application.middlewares.append(ears.listen)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    }
    kubeconfig.write_text(yaml.safe_dump(config))  # noqa: ASYNC240
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def operating(kubeconfig: Path) -> AsyncIterator[Play]:
    """Run the operator, its Lease held, until the block ends; KUBECONFIG must name `kubeconfig`."""
    api = MemoryApi()
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        api.make("CustomResourceDefinition", crd["metadata"]["name"], api=crd["apiVersion"], spec=crd["spec"])
    ears = Ears(api=api)
    async with served(api, ears, kubeconfig):
        client, objects = await connect(), Objects(api)
        world: Any = FakeWorld(kube=objects)  # type: ignore[arg-type]
        kicks: Kicks[ClusterKey] = Kicks()
        lease = Lease(kube=client, namespace="default", name="borealis-operator", holder="me")
        await lease.acquire()
        keeper = asyncio.create_task(lease.keep())
        catalogue = Catalogue(images={"17": "engine:17"}, operator_peer=PEER)
        reconciler = Reconciler(kube=client, agents=world, catalogue=catalogue, wall=time.time, clock=time.monotonic)
        running = asyncio.create_task(_run(client, world, kicks, reconciler))
        try:
            key = ClusterKey(namespace="default", name="orders")
            yield Play(
                api=api,
                ears=ears,
                world=world,
                client=client,
                objects=objects,
                kicks=kicks,
                key=key,
                reconciler=reconciler,
            )
        finally:
            for task in (running, keeper):
                task.cancel()
            await asyncio.gather(running, keeper, return_exceptions=True)
            with contextlib.suppress(KubeDown):
                await lease.release()
            await client.close()


async def _run(client: ApiServer, world: FakeWorld, kicks: Kicks[ClusterKey], reconciler: Reconciler) -> None:
    wiring = Wiring(kube=client, kicks=kicks, reconciler=reconciler, remover=Remover(kube=client, agents=world))
    await kopf.operator(registry=make_registry(wiring), settings=make_settings(), clusterwide=True, standalone=True)
