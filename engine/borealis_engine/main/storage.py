"""`borealis-storage`: one member of a volume, told everything by its environment."""

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

import uvloop

from borealis_engine.contract import names
from borealis_engine.contract.status import Claim
from borealis_engine.contract.volume import MemberId
from borealis_engine.main.environment import ConfigInvalid, Environment
from borealis_engine.main.inspection import add_commands
from borealis_engine.main.logs import JsonLines, log_as_json
from borealis_engine.net.control import Changes, Reply, Surface, serve_control, serve_probes
from borealis_engine.net.door import raise_descriptor_limit
from borealis_engine.net.errors import TlsInvalid
from borealis_engine.net.standby import Standby
from borealis_engine.net.storage import StorageNode, StorageSettings
from borealis_engine.net.tls import Tls, load_tls
from borealis_engine.store.errors import StoreError
from borealis_engine.store.lock import DiskLock

log = logging.getLogger("borealis-storage")

EXAMPLE = f"""\
environment:
  {names.ENV_CLUSTER}, {names.ENV_CLUSTER_UID}   name and uid of the DBCluster
  {names.ENV_MEMBER_ID}   identity of this disk, 16 hex digits
  {names.ENV_FORMAT}      true: an empty disk may become this member (default false)
  {names.ENV_VOLUME}      VolumeConfig as JSON
  {names.ENV_DATA_DIR}    where the journal and the images are kept
  {names.ENV_TLS_DIR}     holds ca.crt, tls.crt and tls.key (role {names.ROLE_STORAGE})
  {names.ENV_LEASE_SECONDS}   default {names.DEFAULT_LEASE_S:g}
  {names.ENV_POD_NAME}, {names.ENV_POD_IP}   who and where it is; it binds to that address alone

ports: {names.LOG_PORT} log protocol, {names.CONTROL_PORT} control (both mTLS), {names.PROBE_PORT} probes and metrics

example:
  {names.ENV_CLUSTER}=demo {names.ENV_CLUSTER_UID}=5d4c {names.ENV_MEMBER_ID}=00112233aabbccdd \\
  {names.ENV_FORMAT}=true {names.ENV_DATA_DIR}=/var/lib/borealis {names.ENV_TLS_DIR}=/etc/borealis/tls \\
  {names.ENV_VOLUME}="$(cat volume.json)" {names.ENV_POD_NAME}=demo-storage-0 {names.ENV_POD_IP}=10.0.0.7 \\
  borealis-storage
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The environment, read and checked."""

    cluster: str
    storage: StorageSettings
    tls: Tls


def read_configuration(environment: Environment) -> Configuration:
    """Read the environment; ConfigInvalid or TlsInvalid names what is wrong and the remedy."""
    volume = environment.volume()
    settings = StorageSettings(
        name=environment.text(names.ENV_POD_NAME, "set it from metadata.name (downward API)"),
        member=MemberId(environment.text(names.ENV_MEMBER_ID, "give 16 hex digits that name this disk")),
        config=volume,
        data=environment.folder(names.ENV_DATA_DIR, "give the absolute path where the volume is mounted"),
        allow_format=environment.flag(names.ENV_FORMAT, default=False),
        lease_s=environment.seconds(names.ENV_LEASE_SECONDS, names.DEFAULT_LEASE_S),
        host=environment.text(names.ENV_POD_IP, "set it from status.podIP (downward API)"),
    )
    folder = environment.folder(names.ENV_TLS_DIR, "mount the Secret <cluster>-tls-storage and give its absolute path")
    return Configuration(
        cluster=environment.text(names.ENV_CLUSTER, "give the name of the DBCluster"),
        storage=settings,
        tls=load_tls(folder, cluster_uid=volume.cluster_uid),
    )


AGAIN = 75  # exit status (EX_TEMPFAIL): start me again, and the disk is opened anew


def make_surface(storage: StorageNode) -> Surface:
    """Give what the node shows; it is not healthy once a fresh process might serve, should this one fail to end."""
    return Surface(
        status=storage.status,
        configure=storage.configure,
        configuration=lambda: storage.node.config,
        ready=lambda: storage.fit,
        healthy=lambda: not storage.renewal.is_set(),
        metrics=storage.meters.registry,
        dropped=storage.meters.dropped,
        commands={("PUT", names.CLAIM): lambda body: _hold_to(storage, body)},
    )


async def run(configuration: Configuration, lines: JsonLines) -> int:
    """Serve until SIGTERM or SIGINT, or until the disk is worth another start; give the exit status."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    lock = DiskLock(configuration.storage.data)  # held until the process ends
    if not await Standby(configuration.storage, lock).wait(stop, configuration.tls):
        return 0
    storage, changes = StorageNode(configuration.storage, configuration.tls), Changes()
    lines.where = lambda: (storage.node.durable.epoch, storage.node.durable.flush)
    surface = make_surface(storage)
    host = configuration.storage.host
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(storage.running(changes))
        await stack.enter_async_context(serve_control(surface, changes, configuration.tls, host=host))
        await stack.enter_async_context(serve_probes(surface, host=host))
        log.info("serving on %s as %s", host, storage.state.value)
        renewing = asyncio.create_task(storage.renewal.wait())
        renewing.add_done_callback(lambda _: stop.set())
        await stop.wait()
        renewing.cancel()
        log.info("stopping")
    return AGAIN if storage.renewal.is_set() else 0


async def _hold_to(storage: StorageNode, body: bytes) -> Reply:
    try:
        claim = Claim.from_json(body)
    except (AttributeError, TypeError, ValueError) as error:
        return Reply(status=400, body={"error": f"not a Claim: {error}"})
    if type(claim.size) is not int or claim.size <= 0:
        return Reply(status=400, body={"error": "size must be a number of bytes above 0"})
    storage.hold_to(claim)
    return Reply(status=200)


def main() -> None:
    """Run `borealis-storage`; exit status 2: a wrong environment; 1: a disk or address that cannot be used; or AGAIN.

    The commands that look at a directory have exit statuses of their own.
    """
    parser = argparse.ArgumentParser(
        prog="borealis-storage",
        description="One storage node of a Borealis volume. To serve it takes no arguments but an environment.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_commands(parser)
    given = parser.parse_args()
    if given.work:
        sys.exit(given.work(given))
    try:
        configuration = read_configuration(Environment())
    except (ConfigInvalid, TlsInvalid) as error:
        sys.exit(_complain(str(error), 2))
    raise_descriptor_limit()
    lines = log_as_json(cluster=configuration.cluster, node=configuration.storage.name)
    try:
        sys.exit(uvloop.run(run(configuration, lines)))
    except (StoreError, OSError) as error:
        sys.exit(_complain(str(error), 1))


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"borealis-storage: {message}\n")
    return status


if __name__ == "__main__":
    main()
