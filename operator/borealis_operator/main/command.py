"""The command: parse options, win the Lease, run the handlers, and leave at once if the Lease is lost."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import kopf

from borealis_operator.api.catalogue import (
    ENV_ENGINE_IMAGES,
    ENV_OPERATOR_PEER,
    Catalogue,
    parse_catalogue,
    parse_operator_peer,
)
from borealis_operator.api.classes import ENV_INSTANCE_CLASSES, parse_classes
from borealis_operator.api.cluster import ClusterKey
from borealis_operator.api.errors import KubeError, OperatorError
from borealis_operator.api.names import GROUP, VERSION
from borealis_operator.handlers.registry import Wiring, make_registry
from borealis_operator.handlers.settings import make_settings
from borealis_operator.kube.client import ApiServer, connect
from borealis_operator.kube.kinds import KINDS
from borealis_operator.kube.lease import Lease
from borealis_operator.main.door import raise_descriptor_limit
from borealis_operator.main.health import Health
from borealis_operator.main.logs import set_up_logs
from borealis_operator.observe.links import AgentLinks
from borealis_operator.reconcile.kicks import Kicks
from borealis_operator.reconcile.metrics import LEADER
from borealis_operator.reconcile.reconciler import Reconciler
from borealis_operator.reconcile.removal import Remover

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
OWN: Final = frozenset(kind.plural for kind in KINDS.values() if kind.group == GROUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line and the environment say."""

    namespaces: tuple[str, ...]
    lease_namespace: str
    lease_name: str
    probe_address: str
    probe_port: int
    plain: bool
    verbose: bool


def main(argv: Sequence[str] | None = None) -> None:
    """Run the operator until a signal; exit code 1 when it could not go on, 2 when it was called wrongly."""
    options = parse_options(argv)
    raise_descriptor_limit()
    set_up_logs(plain=options.plain, verbose=options.verbose)
    try:
        classes = parse_classes(os.environ.get(ENV_INSTANCE_CLASSES, ""))
        peer = parse_operator_peer(os.environ.get(ENV_OPERATOR_PEER, ""))
        catalogue = parse_catalogue(os.environ.get(ENV_ENGINE_IMAGES, ""))
        catalogue = replace(catalogue, classes=classes, operator_peer=peer)
    except OperatorError as error:
        sys.exit(f"borealis-operator: {error}")
    try:
        asyncio.run(serve(options, catalogue))
    except OperatorError as error:
        log.error("%s", error)
        sys.exit(1)


def parse_options(argv: Sequence[str] | None) -> Options:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="borealis-operator",
        description="Runs DBClusters on Kubernetes. Reaches the API by its service account, or by KUBECONFIG.",
        epilog=f'{ENV_ENGINE_IMAGES} names the engine images: {{"17": "image:tag"}}',
    )
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        metavar="NAME",
        help="serve this namespace only; may be repeated (default: all namespaces)",
    )
    parser.add_argument(
        "--lease-namespace",
        default=os.environ.get("POD_NAMESPACE", "default"),
        metavar="NAME",
        help="namespace of the Lease by which one of several operators works (default: POD_NAMESPACE)",
    )
    parser.add_argument("--lease-name", default="borealis-operator", metavar="NAME", help="name of that Lease")
    parser.add_argument(
        "--probe-address",
        default=os.environ.get("POD_IP", "127.0.0.1"),
        metavar="IP",
        help="address of /healthz, /readyz and /metrics (default: POD_IP, else loopback)",
    )
    parser.add_argument("--probe-port", type=int, default=7402, metavar="PORT", help="their port; 0 for none")
    parser.add_argument("--plain-logs", action="store_true", help="log text instead of JSON")
    parser.add_argument("--verbose", action="store_true", help="log more")
    given = parser.parse_args(argv)
    return Options(
        namespaces=tuple(given.namespace),
        lease_namespace=given.lease_namespace,
        lease_name=given.lease_name,
        probe_address=given.probe_address,
        probe_port=given.probe_port,
        plain=given.plain_logs,
        verbose=given.verbose,
    )


async def serve(options: Options, catalogue: Catalogue) -> None:
    """Be alive, wait for the API and for the Lease, then run the handlers until a signal."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, os._exit, 0)  # while standing by; kopf takes the signals over later
    health, api = Health(), await connect()
    runner = await health.serve(options.probe_address, options.probe_port) if options.probe_port else None
    try:
        await wait_for_api(api, options)
        health.ready = True
        await lead(options, catalogue, api, health)
    finally:
        if runner:
            await runner.cleanup()
        await api.close()


async def wait_for_api(api: ApiServer, options: Options) -> None:
    """Wait until the API server serves all of our kinds; say once why it takes so long.

    Kopf looks once, when it starts, which kinds there are: one that came later would never be watched.
    """
    namespace, told = options.namespaces[0] if options.namespaces else "", ""
    while True:
        try:
            missing = sorted(OWN - await api.served(GROUP, VERSION))
            if not missing:
                await api.list("DBCluster", namespace)
                return
            reason = f"the API server knows no {', '.join(missing)} yet; apply the CRDs"
        except KubeError as error:
            reason = f"the API server does not answer yet: {error}"
        if reason != told:
            log.warning("%s", reason)
        told = reason
        await asyncio.sleep(POLL_S)


async def lead(options: Options, catalogue: Catalogue, api: ApiServer, health: Health) -> None:
    """Win the Lease, run the handlers, and give the Lease up in the end."""
    holder = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    lease = Lease(kube=api, namespace=options.lease_namespace, name=options.lease_name, holder=holder)
    await lease.acquire()
    log.info("%s holds the Lease %s/%s", holder, options.lease_namespace, options.lease_name)
    health.leading = True
    LEADER.set(1)
    keeper = asyncio.create_task(lease.keep(), name="lease")
    keeper.add_done_callback(_start_over)
    try:
        await run_handlers(options, catalogue, api)
    finally:
        keeper.remove_done_callback(_start_over)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        try:
            await lease.release()
        except KubeError as error:
            log.info("the Lease is left to expire: %s", error)


async def run_handlers(options: Options, catalogue: Catalogue, api: ApiServer) -> None:
    """Run kopf with our handlers until a signal."""
    kicks: Kicks[ClusterKey] = Kicks()
    links = AgentLinks(kicks.kick)
    reconciler = Reconciler(kube=api, agents=links, catalogue=catalogue, wall=time.time, clock=time.monotonic)
    wiring = Wiring(kube=api, kicks=kicks, reconciler=reconciler, remover=Remover(kube=api, agents=links))
    try:
        await kopf.operator(
            registry=make_registry(wiring),
            settings=make_settings(),
            clusterwide=not options.namespaces,
            namespaces=options.namespaces,
            standalone=True,
        )
    finally:
        await links.close()


def _start_over(task: asyncio.Task[None]) -> None:
    """End all work at once: whoever holds the Lease now must find nobody else at work; then stand by again.

    The process replaces itself, because Kubernetes restarts a container that exits later and later.
    """
    if not task.cancelled():
        log.critical("the Lease is lost: %s", task.exception())
        logging.shutdown()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
