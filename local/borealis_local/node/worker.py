"""One pod on its node: volumes, init containers, containers with restarts and probes.

Everything it starts ends with its task: cancelling the task stops each container (SIGTERM, grace, SIGKILL) before the
task is done, so a worker that is gone has left no process.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from borealis_local.errors import PodError
from borealis_local.machinery.resources import Group
from borealis_local.node import probes, process, status, volumes
from borealis_local.node.environment import Command, Lookup, command, rewritten_probe
from borealis_local.node.paths import Rewriter
from borealis_local.node.power import Power
from borealis_local.node.process import Run
from borealis_local.node.status import ContainerState
from borealis_local.server.api import Api
from borealis_local.server.store import Key
from borealis_local.server.writes import stamp
from borealis_local.state import State

log = logging.getLogger(__name__)
Object = Mapping[str, Any]
FIRST_DELAY_S, LONGEST_DELAY_S, RAN_WELL_S = 1.0, 10.0, 15.0
VOLUME_RETRY_S = 0.2
_GROUPS = {"Secret": Group("", "secrets"), "ConfigMap": Group("", "configmaps")}
CLAIMS, VOLUMES = Group("", "persistentvolumeclaims"), Group("", "persistentvolumes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all workers share."""

    api: Api
    state: State
    power: Power
    base_env: Mapping[str, str]


class Worker:
    """Runs one pod."""

    def __init__(self, pod: Object, address: str, around: Surroundings) -> None:
        """Begin to run a pod that is bound to a node; needs a running loop."""
        self.pod, self.address, self._around = pod, address, around
        self.node = str(pod["spec"]["nodeName"])
        self.runs: dict[str, Run] = {}
        self.grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        self._directory = volumes.pod_directory(around.state.pods, pod)
        self._volumes: dict[str, Path] = {}
        self._initialized = False
        self._containers = self._states("containers", "containerStatuses")
        self._inits = self._states("initContainers", "initContainerStatuses")
        self.task = asyncio.create_task(self._run(), name=f"pod {pod['metadata']['name']}")

    def _states(self, key: str, status_key: str) -> list[ContainerState]:
        before = {s["name"]: s for s in self.pod.get("status", {}).get(status_key, ())}
        states = []
        for spec in self.pod["spec"].get(key, ()):
            state = ContainerState(name=spec["name"], image=spec.get("image", ""))
            if old := before.get(spec["name"]):
                state.restarts = old.get("restartCount", 0) + (1 if "running" in old.get("state", {}) else 0)
            states.append(state)
        return states

    # --- life -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Live; a fault of the kubelet itself is shown in the pod's status, and tried again."""
        while True:
            try:
                await self._live()
                return
            except Exception as error:
                log.exception("pod %s failed", self.pod["metadata"]["name"])
                for state in self._containers:
                    state.waiting("RunContainerError", repr(error))
                self.publish()
                await asyncio.sleep(LONGEST_DELAY_S)

    async def _live(self) -> None:
        self.publish()
        await self._mount()
        for spec, state in zip(self.pod["spec"].get("initContainers", ()), self._inits, strict=True):
            while await self._cycle(spec, state, policy="OnFailure") != 0:
                pass
        self._initialized = True
        policy = self.pod["spec"].get("restartPolicy", "Always")
        async with asyncio.TaskGroup() as group:
            for spec, state in zip(self.pod["spec"]["containers"], self._containers, strict=True):
                group.create_task(self._cycle(spec, state, policy=policy))

    async def stop(self, grace: float) -> None:
        """End all containers, with `grace` seconds each between SIGTERM and SIGKILL."""
        self.grace = grace
        self.task.cancel()
        await asyncio.wait([self.task])

    def kill(self) -> None:
        """Kill all processes of the pod; containers restart as their policy says."""
        for run in self.runs.values():
            run.kill()

    def remove_directory(self) -> None:
        """Remove what the pod left on disk."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def publish(self) -> None:
        """Write the pod's status if it changed."""
        metadata = self.pod["metadata"]
        api = self._around.api
        live = api.store.get(Key(Group("", "pods"), metadata["namespace"], metadata["name"]))
        if live is None or live["metadata"]["uid"] != metadata["uid"]:
            return
        new = status.render(
            live,
            self._containers,
            self._inits,
            address=self.address,
            initialized=self._initialized,
            node_ready=self._around.power.is_on(self.node),
            now=stamp(),
        )
        api.patch_status(api.kind("v1", "Pod"), live, new)

    # --- volumes --------------------------------------------------------------------------------------------------

    def _find(self, kind: str, name: str) -> Object | None:
        return self._around.api.store.get(Key(_GROUPS[kind], self.pod["metadata"]["namespace"], name))

    def _claim_path(self, name: str) -> Path | None:
        store = self._around.api.store
        claim = store.get(Key(CLAIMS, self.pod["metadata"]["namespace"], name))
        if claim is None or claim.get("status", {}).get("phase") != "Bound":
            return None
        volume = store.get(Key(VOLUMES, "", claim["spec"]["volumeName"]))
        return Path(volume["spec"]["hostPath"]["path"]) if volume else None

    async def _mount(self) -> None:
        while True:
            await self._around.power.wait(self.node)
            try:
                self.refresh()
                return
            except PodError as error:
                for state in (*self._inits, *self._containers):
                    state.waiting(error.reason, str(error))
                self.publish()
                await asyncio.sleep(VOLUME_RETRY_S)

    def refresh(self) -> None:
        """Make the volumes, or bring the files of Secrets and ConfigMaps up to date; PodError if one is missing."""
        self._volumes = volumes.prepare(self.pod, self._directory, find=self._find, claim_path=self._claim_path)

    # --- one container --------------------------------------------------------------------------------------------

    async def _cycle(self, spec: Object, state: ContainerState, *, policy: str) -> int:
        """Run a container again and again, as its policy says; give the last exit code."""
        delay, first = FIRST_DELAY_S, True
        while True:
            await self._around.power.wait(self.node)
            state.restarts += 0 if first else 1
            began = time.monotonic()
            code = await self._once(spec, state)
            first = False if code is not None else first
            if code is not None and (policy == "Never" or (policy == "OnFailure" and code == 0)):
                return code
            delay = FIRST_DELAY_S if time.monotonic() - began > RAN_WELL_S else delay
            if code is not None and self._around.power.is_on(self.node):
                state.waiting("CrashLoopBackOff", f"back-off {delay:g}s restarting failed container={spec['name']}")
                self.publish()
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY_S)

    async def _once(self, spec: Object, state: ContainerState) -> int | None:
        """Run a container once; give its exit code, or None if it could not be started."""
        try:
            paths = Rewriter(volumes.mounts(spec, self._volumes))
            lookup: Lookup = self._find
            pod = {**self.pod, "status": {"podIP": self.address, "hostIP": "127.0.0.1"}}
            todo = command(spec, pod, base=self._around.base_env, lookup=lookup, paths=paths)
        except PodError as error:
            state.waiting(error.reason, str(error))
            self.publish()
            return None
        directory = Path(paths.text(spec["workingDir"])) if spec.get("workingDir") else self._directory
        run = await process.start(todo, directory=directory, log=self.log_path(spec["name"]))
        return await self._attend(spec, state, run, todo, paths)

    async def _attend(self, spec: Object, state: ContainerState, run: Run, todo: Command, paths: Rewriter) -> int:
        """Watch a started container until it ends."""
        self.runs[state.name] = run
        state.running(stamp())
        self.publish()
        probing = asyncio.create_task(self._probe(spec, state, run, todo, paths))
        try:
            code = await run.wait()
        finally:
            probing.cancel()
            if run.process.returncode is None:
                await run.stop(self.grace)
            del self.runs[state.name]
            await asyncio.wait([probing])
        state.terminated(code, stamp())
        self.publish()
        return code

    def log_path(self, container: str) -> Path:
        """Give the log of a container."""
        metadata = self.pod["metadata"]
        return log_path(self._around.state, metadata["namespace"], metadata["name"], container)

    # --- probes ---------------------------------------------------------------------------------------------------

    async def _probe(self, spec: Object, state: ContainerState, run: Run, todo: Command, paths: Rewriter) -> None:
        """Probe a running container until cancelled."""
        ports = {p["name"]: int(p["containerPort"]) for p in spec.get("ports", ()) if "name" in p}

        async def execute(words: Sequence[str], timeout: float) -> bool:
            argv = rewritten_probe(words, todo.env, paths)
            return await probes.run_command(argv, timeout, env=todo.env, directory=str(self._directory))

        def watched(name: str, tell: Any, until: bool | None = None) -> Any:
            probe = spec[name]
            once = lambda: probes.attempt(probe, address=self.address, ports=ports, run=execute)  # noqa: E731
            return probes.watch(probe, once, tell, until=until)

        def fail(healthy: bool) -> None:
            if not healthy:
                log.warning("container %s of pod %s failed its probe", state.name, self.pod["metadata"]["name"])
                asyncio.get_running_loop().create_task(run.stop(self.grace))

        def ready(healthy: bool) -> None:
            state.ready = healthy
            self.publish()

        if "startupProbe" in spec:
            await watched("startupProbe", fail, until=True)
        state.started = True
        if "readinessProbe" not in spec:
            state.ready = True
        self.publish()
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in spec:
                group.create_task(watched("readinessProbe", ready))
            if "livenessProbe" in spec:
                group.create_task(watched("livenessProbe", fail))


def log_path(state: State, namespace: str, pod: str, container: str) -> Path:
    """Give where a container's output goes."""
    return state.logs / f"{namespace}_{pod}" / f"{container}.log"
