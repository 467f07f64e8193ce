"""The kubelet of all fake nodes: a worker for each pod that is bound to a node, and nothing else running."""

import asyncio
import logging
import shutil
from collections.abc import Mapping
from typing import Any

from borealis_local.errors import ApiError, PodError
from borealis_local.machinery.resources import Group
from borealis_local.node import process
from borealis_local.node.addresses import AddressBook
from borealis_local.node.volumes import pod_directory
from borealis_local.node.worker import Surroundings, Worker
from borealis_local.server.removal import DeleteOptions

log = logging.getLogger(__name__)
Object = Mapping[str, Any]
PODS, SECRETS, CONFIG_MAPS = Group("", "pods"), Group("", "secrets"), Group("", "configmaps")
GROUPS = frozenset({PODS, SECRETS, CONFIG_MAPS})


class Kubelet:
    """Keeps workers in step with the pods of the API."""

    def __init__(self, around: Surroundings, addresses: AddressBook) -> None:
        """Run pods in these surroundings."""
        self._around, self._addresses = around, addresses
        self._workers: dict[str, Worker] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def sync(self) -> float | None:
        """Start, end and refresh workers."""
        pods = {p["metadata"]["uid"]: p for p in self._around.api.store.list(PODS)}
        for uid in self._workers.keys() - pods.keys() - self._ending.keys():
            self._begin_end(uid, self._workers[uid].pod, grace=0.0)
        for uid, pod in pods.items():
            if uid in self._ending or not self._mine(pod):
                continue
            if "deletionTimestamp" in pod["metadata"]:
                self._begin_end(uid, pod, grace=float(pod["metadata"].get("deletionGracePeriodSeconds", 0)))
            elif uid not in self._workers and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                self._workers[uid] = Worker(pod, self._address(pod, pods), self._around)
        self._refresh()
        return None

    def _mine(self, pod: Object) -> bool:
        return bool(pod["spec"].get("nodeName"))

    def _address(self, pod: Object, pods: Mapping[str, Object]) -> str:
        own = pod.get("status", {}).get("podIP")
        if own:
            return str(own)
        used = {p.get("status", {}).get("podIP", "") for p in pods.values()}
        return self._addresses.pod(used | {w.address for w in self._workers.values()})

    def _refresh(self) -> None:
        for worker in self._workers.values():
            try:
                worker.refresh()
            except PodError as error:
                log.debug("volumes of pod %s: %s", worker.pod["metadata"]["name"], error)

    # --- ends -----------------------------------------------------------------------------------------------------

    def _begin_end(self, uid: str, pod: Object, *, grace: float) -> None:
        self._ending[uid] = asyncio.create_task(self._end(uid, pod, grace))

    async def _end(self, uid: str, pod: Object, grace: float) -> None:
        """Stop a pod's worker, remove its directory, then the pod itself."""
        worker = self._workers.get(uid)
        try:
            if worker is not None:
                if grace:
                    await self._around.power.wait(worker.node)
                await worker.stop(grace)
                self._workers.pop(uid, None)
            await asyncio.to_thread(shutil.rmtree, pod_directory(self._around.state.pods, pod), ignore_errors=True)
            self._confirm(uid, pod)
        except Exception:
            log.exception("pod %s could not be ended", pod["metadata"]["name"])
        finally:
            self._ending.pop(uid, None)

    def _confirm(self, uid: str, pod: Object) -> None:
        metadata, api = pod["metadata"], self._around.api
        try:
            options = DeleteOptions(grace=0, uid=uid)
            api.delete(api.kind("v1", "Pod"), metadata["namespace"], metadata["name"], options)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def stop(self, grace: float) -> None:
        """End all workers; the pods stay in the API."""
        for task in self._ending.values():
            task.cancel()
        workers = list(self._workers.values())
        await asyncio.gather(*(w.stop(grace) for w in workers), *self._ending.values(), return_exceptions=True)

    # --- faults ---------------------------------------------------------------------------------------------------

    def node_changed(self, node: str, on: bool) -> None:
        """Kill what runs on a node that lost its power; show what changed."""
        for worker in self._workers.values():
            if worker.node == node:
                if not on:
                    worker.kill()
                worker.publish()

    def kill_postgres(self, namespace: str, name: str) -> list[int]:
        """SIGKILL the PostgreSQL server of a pod; give the process ids that were killed."""
        for worker in self._workers.values():
            metadata = worker.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return [p for run in worker.runs.values() for p in process.kill_postmasters(run.pid)]
        return []

    def sweep(self) -> None:
        """Remove directories of pods that are no more."""
        known = {pod_directory(self._around.state.pods, p).name for p in self._around.api.store.list(PODS)}
        for path in self._around.state.pods.iterdir():
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)
