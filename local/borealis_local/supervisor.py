"""The background process of local mode: API server, controllers, kubelet, and the operator as a child.

It holds the lock of its state directory and the network that its API server listens on; everything that it starts ends
with it, also when it is killed (the shims read their end of a pipe).
"""

import argparse
import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import web

from borealis_local.control import provisioner, proxy, scheduler
from borealis_local.control.bootstrap import NODES, bootstrap, node_ready, nodes_in
from borealis_local.control.cleanup import Cleanup
from borealis_local.control.garbage import Collector
from borealis_local.control.provisioner import Provisioner
from borealis_local.control.proxy import Proxies
from borealis_local.control.scheduler import Scheduler
from borealis_local.engines import engine_majors
from borealis_local.errors import CommandError, bad_request
from borealis_local.node import kubelet, process
from borealis_local.node.addresses import AddressBook
from borealis_local.node.environment import IMAGE, Command
from borealis_local.node.kubelet import Kubelet
from borealis_local.node.power import Power
from borealis_local.node.worker import Surroundings, log_path
from borealis_local.server.api import Api
from borealis_local.server.loop import follow, within
from borealis_local.server.serve import listening
from borealis_local.server.store import Store
from borealis_local.server.writes import Object
from borealis_local.state import (
    API_PORT,
    Identity,
    State,
    candidate_networks,
    new_identity,
    read_identity,
    write_identity,
)

log = logging.getLogger(__name__)
LISTEN_BACKLOG = 128
STOP_GRACE_S = 6.0
OPERATOR_GRACE_S = 1.5
DEFAULT_OUTAGE_S = 10.0
OPERATOR_SETTINGS = ("BOREALIS_ENGINE_IMAGES", "BOREALIS_INSTANCE_CLASSES")  # passed on if this process has them


def lock(state: State) -> int:
    """Take the state's lock and write this process's id into it; CommandError if a supervisor holds it."""
    descriptor = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise CommandError(f"a supervisor already runs on {state.root}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _bind(address: str) -> socket.socket | None:
    """Bind the API server's socket, or give None if the address is taken."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, API_PORT))
        made.listen(LISTEN_BACKLOG)
    except OSError:
        made.close()
        return None
    return made


def claim_identity(state: State) -> tuple[Identity, socket.socket]:
    """Give the state's identity and its bound socket; a new one takes a network that nobody else uses."""
    known = read_identity(state)
    for identity in [known] if known else map(new_identity, candidate_networks(state)):
        bound = _bind(identity.address)
        if bound is not None:
            write_identity(state, identity)
            return identity, bound
    if known is None:
        raise CommandError("no free 127.x network: too many local clusters are running")
    raise CommandError(f"{known.address}:{API_PORT} is in use: end that process, or use another --state")


class Supervisor:
    """Everything that runs while local mode is up."""

    def __init__(self, state: State, identity: Identity, bound: socket.socket, *, operator: bool) -> None:
        """Open the store; nothing runs yet. `bound` is where the API server listens."""
        self._state, self._identity, self._bound, self._operator = state, identity, bound, operator
        self._store = Store(state.database)
        addresses = AddressBook(identity.network)
        self._api = Api(self._store, service_address=addresses.service)
        self._power = Power(NODES, self._power_changed)
        base = process.base_environment(os.environ)
        around = Surroundings(api=self._api, state=state, power=self._power, base_env=base)
        self._kubelet = Kubelet(around, addresses)
        self._proxies = Proxies(self._api)
        self._outages: set[asyncio.Task[None]] = set()

    async def run(self, stopped: asyncio.Event) -> None:
        """Run until `stopped`; then end everything, the operator first."""
        bootstrap(self._api)
        self._kubelet.sweep()
        async with AsyncExitStack() as stack:
            serving = listening(
                self._api,
                bound=self._bound,
                token=self._identity.token,
                certificates=self._state.tls,
                read_log=self._read_log,
                extra=(web.post("/local/kill", self._kill),),
            )
            await stack.enter_async_context(serving)
            stack.push_async_callback(self._proxies.close)
            stack.push_async_callback(self._kubelet.stop, STOP_GRACE_S)
            loops = [asyncio.create_task(c) for c in self._controllers()]
            operator = asyncio.create_task(self._run_operator()) if self._operator else None
            log.info("up: %s, pid %d", self._identity.server, os.getpid())
            await stopped.wait()
            log.info("going down")
            await _cancel([operator] if operator else [])
            await _cancel([*loops, *self._outages])
        self._store.close()
        log.info("down")

    def _controllers(self) -> list[Coroutine[Any, Any, None]]:
        api, store = self._api, self._store
        collector, cleanup = Collector(api), Cleanup(api)
        volumes = Provisioner(api, self._state.volumes)
        return [
            follow(store, Scheduler(api).sync, name="scheduler", matters=within(scheduler.GROUPS)),
            follow(store, volumes.sync, name="provisioner", matters=within(provisioner.GROUPS)),
            follow(store, self._kubelet.sync, name="kubelet", matters=within(kubelet.GROUPS)),
            follow(store, self._proxies.sync, name="proxies", matters=within(proxy.GROUPS)),
            follow(store, collector.sync, name="collector", matters=collector.matters),
            follow(store, cleanup.sync, name="cleanup", matters=cleanup.matters),
        ]

    # --- the operator ---------------------------------------------------------------------------------------------

    async def _run_operator(self) -> None:
        """Keep the operator running; it is a client of the API like any other."""
        command = operator_command(self._state, self._identity)
        delay = 1.0
        while True:
            run = await process.start(command, directory=self._state.root, log=self._state.logs / "operator.log")
            try:
                code = await run.wait()
            finally:
                if run.process.returncode is None:
                    await run.stop(OPERATOR_GRACE_S)
            log.warning("the operator ended with code %d; again in %g s", code, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 10.0)

    # --- faults and logs ------------------------------------------------------------------------------------------

    def _power_changed(self, node: str, on: bool) -> None:
        log.info("node %s is %s", node, "on" if on else "off")
        node_ready(self._api, node, ready=on)
        self._kubelet.node_changed(node, on)

    async def _kill(self, request: web.Request) -> web.Response:
        """POST {"node"|"zone": name, "seconds": s} or {"postgres": {"namespace", "name"}}: break something."""
        asked = json.loads(await request.read())
        if pod := asked.get("postgres"):
            killed = self._kubelet.kill_postgres(pod["namespace"], pod["name"])
            return web.json_response({"killed": killed})
        nodes = (asked["node"],) if "node" in asked else nodes_in(asked.get("zone", ""))
        if not nodes or any(n not in NODES for n in nodes):
            raise bad_request(f"no such node or zone; there are {', '.join(NODES)}")
        for node in nodes:
            self._power.off(node)
        task = asyncio.create_task(self._power_back(nodes, float(asked.get("seconds", DEFAULT_OUTAGE_S))))
        self._outages.add(task)
        task.add_done_callback(self._outages.discard)
        return web.json_response({"off": nodes})

    async def _power_back(self, nodes: Sequence[str], seconds: float) -> None:
        await asyncio.sleep(seconds)
        for node in nodes:
            self._power.on(node)

    def _read_log(self, pod: Object, query: Mapping[str, str]) -> bytes:
        """Give the log of a pod's container, or its last lines."""
        names = [c["name"] for c in pod["spec"]["containers"]]
        container = query.get("container") or names[0]
        if container not in names + [c["name"] for c in pod["spec"].get("initContainers", ())]:
            raise bad_request(f"container {container} is not valid for pod {pod['metadata']['name']}")
        metadata = pod["metadata"]
        path = log_path(self._state, metadata["namespace"], metadata["name"], container)
        content = path.read_bytes() if path.exists() else b""
        if "tailLines" in query:
            lines = content.splitlines(keepends=True)
            return b"".join(lines[-int(query["tailLines"]) :] if int(query["tailLines"]) else ())
        return content


def operator_command(state: State, identity: Identity) -> Command:
    """Give how the operator is started: by its options, like anywhere else."""
    env = {**process.base_environment(os.environ), "KUBECONFIG": str(state.kubeconfig)}
    env["BOREALIS_ENGINE_IMAGES"] = json.dumps(dict.fromkeys(engine_majors(os.environ), IMAGE))
    env |= {k: v for k in OPERATOR_SETTINGS if (v := os.environ.get(k))}
    return Command(argv=("borealis-operator", "--plain-logs", "--probe-address", identity.address), env=env)


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _main(state: State, *, operator: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    identity, bound = claim_identity(state)
    await Supervisor(state, identity, bound, operator=operator).run(stopped)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the supervisor in the foreground."""
    parser = argparse.ArgumentParser(description="API server and kubelet of `borealis local`")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--no-operator", action="store_true")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    state = State(root=options.state)
    try:
        state.prepare()
        held = lock(state)
        asyncio.run(_main(state, operator=not options.no_operator))
        os.close(held)
    except CommandError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
