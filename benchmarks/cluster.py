"""A Borealis cluster in local mode, driven by the `borealis` command: the product as its users run it.

Real storage node processes with their own journals, a real agent, the real operator, mutual TLS between them. A client
connects to the writer's pod: local mode's Services are proxies in user space, where Kubernetes' are the kernel's.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from borealis_engine.contract.volume import MEMBERS
from borealis_local.cli import clusters
from borealis_local.cli.client import Client
from borealis_local.errors import CommandError
from borealis_local.state import State

from benchmarks.members import Member, processes
from benchmarks.pgbench import Database
from benchmarks.processes import COMMAND_S, BenchmarkFailed, run, start

NAME: Final = "bench"
WAIT_S: Final = 180.0
POLL_S: Final = 0.05
_CLUSTER: Final = f"{clusters.GROUP}/namespaces/default/dbclusters/{NAME}"
_PODS: Final = "/api/v1/namespaces/default/pods"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Local mode in a state directory of its own, with one cluster named `bench`."""

    root: Path

    def start(self, *, readers: int, parameters: Mapping[str, str], size: str) -> None:
        """Bring it up and wait until it is available."""
        self.root.mkdir(parents=True, exist_ok=True)
        spec: dict[str, Any] = {
            "engine": "postgresql",
            "readers": readers,
            "databaseName": "app",
            "storage": {"size": size},
        }
        if parameters:
            spec["parameters"] = dict(parameters)
        body = {"apiVersion": "borealis.dev/v1alpha1", "kind": "DBCluster", "metadata": {"name": NAME}, "spec": spec}
        manifest = self.root / "cluster.yaml"
        manifest.write_text(yaml.safe_dump(body))
        self._borealis("local", "up", "--file", str(manifest))

    def stop(self) -> None:
        """End all of it and remove its data."""
        if self.state.exists():
            self._borealis("local", "down", "--purge")

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.root / "state"

    @property
    def database(self) -> Database:
        """Give the writer, by its pod's address."""
        return self.instance(str(self.status().get("writer", "")))

    @property
    def endpoint(self) -> Database:
        """Give the writer endpoint, which follows a failover."""
        found = self._client().find(_CLUSTER)
        if found is None:
            raise BenchmarkFailed("the cluster is gone")
        to = clusters.login(self._client(), found, reader=False)
        return Database(host=to.host, port=to.port, user=to.user, name=to.database, password=to.password)

    def instance(self, pod: str) -> Database:
        """Give an instance, by its pod's address."""
        to, found = self.endpoint, self._client().find(f"{_PODS}/{pod}")
        address = str(((found or {}).get("status") or {}).get("podIP") or "")
        if not address:
            raise BenchmarkFailed(f"pod {pod or '(none)'} has no address")
        return Database(host=address, port=5432, user=to.user, name=to.name, password=to.password)

    def readers(self) -> list[str]:
        """Give the names of the ready readers' pods."""
        pods = self._client().items(f"{_PODS}?labelSelector=borealis.dev%2Frole%3Dreader")
        return sorted(str(pod["metadata"]["name"]) for pod in pods if _ready(pod))

    def status(self) -> dict[str, Any]:
        """Give the status of the DBCluster."""
        found = self._client().find(_CLUSTER) or {}
        return dict(found.get("status") or {})

    def scale(self, readers: int) -> None:
        """Set the wanted number of readers."""
        self._client().request("PATCH", _CLUSTER, {"spec": {"readers": readers}}, kind="application/merge-patch+json")

    def kill_writer(self) -> None:
        """SIGKILL the PostgreSQL server of the writer."""
        body = {"postgres": {"namespace": "default", "name": self.status().get("writer", "")}}
        if not self._client().request("POST", "/local/kill", body)["killed"]:
            raise BenchmarkFailed("no PostgreSQL runs in the writer's pod")

    def members(self) -> list[Member]:
        """Give the storage pods in order, as processes; BenchmarkFailed unless all six run."""
        running = processes(self.supervisor)
        pods = self._client().items(f"{_PODS}?labelSelector=borealis.dev%2Fcomponent%3Dstorage")
        found = [
            Member(name=name, pid=running[name], address=str(pod["status"]["podIP"]), node=str(pod["spec"]["nodeName"]))
            for pod in pods
            if (name := str(pod["metadata"]["name"])) in running
        ]
        if len(found) != MEMBERS:
            raise BenchmarkFailed(f"{len(found)} storage nodes run: {json.dumps(self.status())}")
        return sorted(found, key=lambda member: member.name)

    @property
    def supervisor(self) -> int:
        """Process id of local mode's supervisor, beneath which everything runs."""
        return int(State(root=self.state).lock.read_text())

    def writer_node(self) -> str:
        """Give the Kubernetes node of the writer's pod."""
        found = self._client().find(f"{_PODS}/{self.status().get('writer', '')}") or {}
        return str((found.get("spec") or {}).get("nodeName", ""))

    def flushed(self) -> int:
        """Give the end of the log that PostgreSQL has written."""
        with self.database.connect() as connection:
            row = connection.execute("SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint").fetchone()
        return int(str(row[0])) if row is not None else 0

    def power(self, node: str, *, on: bool) -> None:
        """Cut the power of a Kubernetes node, or give it back."""
        self._client().request("POST", "/local/kill", {"node": node, "seconds": 0.0 if on else COMMAND_S})

    def disk(self, member: Member) -> Path:
        """Give the directory of a member's persistent volume."""
        volumes = self._client().items("/api/v1/persistentvolumes")
        held = [each["spec"] for each in volumes if each["spec"]["claimRef"]["name"] == member.name]
        if len(held) != 1:
            raise BenchmarkFailed(f"{len(held)} persistent volumes are of {member.name}")
        return Path(str(held[0]["hostPath"]["path"]))

    def whole(self, readers: int) -> bool:
        """Tell whether all that is wanted serves."""
        status = self.status()
        known = (status.get("status"), status.get("readers", 0), status.get("storage"))
        return known == ("available", readers, "6/6") and len(self.readers()) == readers

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition` holds; BenchmarkFailed with `what` and the status after WAIT_S."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                if condition():
                    return
            except CommandError:
                pass
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{what}: {json.dumps(self.status())}")
            time.sleep(POLL_S)

    def ledger(self, book: Path, log: Path, *, clients: int) -> "subprocess.Popen[bytes]":
        """Start load with a memory on the writer endpoint."""
        to = self.endpoint
        url = f"postgresql://{to.user}@{to.host}:{to.port}/{to.name}"
        words = ["ledger", "run", "--url", url, "--book", str(book), "--clients", str(clients)]
        return start([self._program(), *words], cwd=self.root, log=log, env={"PGPASSWORD": to.password})

    def _client(self) -> Client:
        return Client.of(State(root=self.state))

    def _program(self) -> str:
        return str(Path(sys.executable).with_name("borealis"))

    def _borealis(self, *words: str) -> None:
        run([self._program(), *words], cwd=self.root, env={"BOREALIS_STATE": str(self.state)})


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
