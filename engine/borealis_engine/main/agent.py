"""`borealis-agent`: one instance, told everything by its environment; PID 1 of an instance pod."""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import uvloop

from borealis_engine.contract import names
from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.contract.volume import VolumeConfig
from borealis_engine.main.environment import ConfigInvalid, Environment
from borealis_engine.main.logs import JsonLines, log_as_json
from borealis_engine.net.control import Changes, Command, Reply, Surface, serve_control, serve_probes
from borealis_engine.net.door import raise_descriptor_limit
from borealis_engine.net.errors import TlsInvalid
from borealis_engine.net.members import Members
from borealis_engine.net.tls import load_tls
from borealis_engine.postgres.account import choose_account
from borealis_engine.postgres.attached import Site
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import PostgresError, SpecInvalid
from borealis_engine.postgres.instance import Identity, Instance
from borealis_engine.postgres.memory import memory_limit
from borealis_engine.postgres.metrics import make_registry
from borealis_engine.postgres.process import reap_strangers
from borealis_engine.postgres.settings import Place, choose_buffers, listen_addresses
from borealis_engine.postgres.tuning import parse_settings

REAP_S: Final = 5.0
EXAMPLE: Final = f"""\
environment:
  {names.ENV_CLUSTER}, {names.ENV_CLUSTER_UID}   name and uid of the DBCluster
  {names.ENV_VOLUME}      VolumeConfig as JSON
  {names.ENV_ZONE}        zone of this instance: it reads from storage nodes there first
  {names.ENV_DATA_DIR}    where data directories are made and thrown away
  {names.ENV_RUN_DIR}     unix sockets; a short path
  {names.ENV_TLS_DIR}     holds ca.crt, tls.crt and tls.key (role {names.ROLE_INSTANCE})
  {names.ENV_SERVER_TLS_DIR}  holds tls.crt and tls.key that PostgreSQL shows to clients; default: no TLS
  {names.ENV_SETTINGS}    parameters of PostgreSQL, Settings as JSON; default: none
  {names.ENV_LEASE_SECONDS}   default {names.DEFAULT_LEASE_S:g}
  {names.ENV_ENGINE_VERSION}  major of PostgreSQL; default: the newest found
  {names.ENV_PG_BIN}      directory of PostgreSQL's server programs; default: searched for
  {names.ENV_POD_NAME}, {names.ENV_POD_IP}   who and where it is; it binds to that address

ports: {names.POSTGRES_PORT} PostgreSQL, {names.CONTROL_PORT} control (mTLS), {names.PROBE_PORT} probes and metrics
exit status: 0 after SIGTERM, 1 when a fresh process is needed (start it again), 2 for a wrong environment

example:
  {names.ENV_CLUSTER}=demo {names.ENV_CLUSTER_UID}=5d4c {names.ENV_ZONE}=zone-a \\
  {names.ENV_VOLUME}="$(cat volume.json)" {names.ENV_DATA_DIR}=/var/lib/borealis {names.ENV_RUN_DIR}=/run/borealis \\
  {names.ENV_TLS_DIR}=/etc/borealis/tls {names.ENV_POD_NAME}=demo-instance-0-x7k2p {names.ENV_POD_IP}=10.0.0.9 \\
  borealis-agent
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The environment, read and checked."""

    cluster: str
    host: str
    site: Site
    identity: Identity
    volume: VolumeConfig
    settings: Settings


def read_configuration(environment: Environment) -> Configuration:
    """Read the environment; ConfigInvalid, TlsInvalid or PostgresError names what is wrong and the remedy."""
    volume = environment.volume()
    host = environment.text(names.ENV_POD_IP, "set it from status.podIP (downward API)")
    name = environment.text(names.ENV_POD_NAME, "set it from metadata.name (downward API)")
    run = environment.folder(names.ENV_RUN_DIR, "give an absolute, short path for unix sockets")
    secret = environment.folder(names.ENV_TLS_DIR, "mount the Secret <cluster>-tls-instance and give its absolute path")
    place = Place(
        name=name,
        addresses=listen_addresses(host),
        port=names.POSTGRES_PORT,
        sockets=str(run),
        shared_buffers=choose_buffers(memory_limit()),
    )
    return Configuration(
        cluster=environment.text(names.ENV_CLUSTER, "give the name of the DBCluster"),
        host=host,
        volume=volume,
        settings=read_settings(environment),
        site=Site(
            data=environment.folder(names.ENV_DATA_DIR, "give the absolute path of a writable directory"),
            run=run,
            place=place,
            binaries=find_binaries(os.environ),
            account=choose_account(),
            server_tls=environment.optional_folder(names.ENV_SERVER_TLS_DIR),
        ),
        identity=Identity(
            name=name,
            zone=environment.text(names.ENV_ZONE, "give the zone that the pod is bound to"),
            lease=environment.seconds(names.ENV_LEASE_SECONDS, names.DEFAULT_LEASE_S),
            tls=load_tls(secret, cluster_uid=volume.cluster_uid),
        ),
    )


def read_settings(environment: Environment) -> Settings:
    """Read the parameters as known when the pod was made."""
    remedy = "give Settings as JSON, or leave it out"
    try:
        return parse_settings(environment.text(names.ENV_SETTINGS, remedy, "{}"))
    except ValueError as error:
        raise ConfigInvalid(f"{names.ENV_SETTINGS} cannot be read ({error}): {remedy}") from error


def commands(instance: Instance) -> dict[tuple[str, str], Command]:
    """Give what the operator may ask of an instance."""

    async def promote(body: bytes) -> Reply:
        return Reply(status=202 if instance.want_promotion() else 409)

    async def resign(body: bytes) -> Reply:
        instance.want_resignation()
        return Reply(status=202)

    async def database(body: bytes) -> Reply:
        try:
            done = await instance.apply(DatabaseSpec.from_json(body))
        except (SpecInvalid, TypeError, ValueError) as error:
            return Reply(status=400, body={"error": str(error)})
        except PostgresError as error:
            return Reply(status=503, body={"error": str(error)})
        return Reply(status=200) if done else Reply(status=409, body={"error": "not the writer"})

    async def settings(body: bytes) -> Reply:
        try:
            done = await instance.tune(parse_settings(body))
        except ValueError as error:
            return Reply(status=400, body={"error": str(error)})
        except PostgresError as error:
            return Reply(status=503, body={"error": str(error)})
        return Reply(status=200 if done else 202)

    return {
        ("POST", names.PROMOTE): promote,
        ("POST", names.RESIGN): resign,
        ("PUT", names.DATABASE): database,
        ("PUT", names.SETTINGS): settings,
    }


async def run(configuration: Configuration, lines: JsonLines) -> bool:
    """Live until SIGTERM or SIGINT (gives True), or until the instance ends by itself (False)."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    changes, identity, host = Changes(), configuration.identity, configuration.host
    members = Members(tls=identity.tls, identity=secrets.token_hex(8), config=configuration.volume)
    instance = Instance(configuration.site, identity, members, changes.changed, configuration.settings)
    lines.where = lambda: instance.where
    surface = Surface(
        status=lambda: instance.status,
        configure=instance.configure,
        configuration=lambda: members.config,
        ready=lambda: instance.ready,
        commands=commands(instance),
        metrics=make_registry(lambda: instance.status, instance.tally, lambda: instance.standings),
        dropped=instance.tally.drop,
    )
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(configuration.site.prepare)
        await stack.enter_async_context(serve_control(surface, changes, identity.tls, host=host))
        await stack.enter_async_context(serve_probes(surface, host=host))
        if os.getpid() == 1:
            reaping = loop.create_task(_reap())
            stack.callback(reaping.cancel)
        return await instance.run(stop)


async def _reap() -> None:
    while True:
        reap_strangers()
        await asyncio.sleep(REAP_S)


def main() -> None:
    """Run `borealis-agent`."""
    parser = argparse.ArgumentParser(
        prog="borealis-agent",
        description="One PostgreSQL instance of a Borealis cluster. It takes no arguments but an environment.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        configuration = read_configuration(Environment())
    except (ConfigInvalid, TlsInvalid, PostgresError) as error:
        sys.exit(_complain(str(error), 2))
    raise_descriptor_limit()
    lines = log_as_json(cluster=configuration.cluster, node=configuration.identity.name)
    try:
        asked = uvloop.run(run(configuration, lines))
    except (PostgresError, OSError) as error:
        sys.exit(_complain(str(error), 1))
    sys.exit(0 if asked else 1)


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"borealis-agent: {message}\n")
    return status


if __name__ == "__main__":
    main()
