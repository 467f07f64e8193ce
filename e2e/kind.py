"""The kind cluster: made for the run, its Kubernetes nodes paused and resumed as machines that freeze."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import IO

from e2e.process import OUT, CommandFailed, run

NAME = os.environ.get("KIND_CLUSTER", "borealis-e2e")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A running kind cluster and the way to it."""

    name: str
    kubeconfig: Path

    @property
    def control_plane(self) -> str:
        """Name of the node that runs Kubernetes itself; no scenario harms it."""
        return f"{self.name}-control-plane"

    def kubectl(self, *arguments: str, timeout: float = 60, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl against this cluster."""
        return run(*self.kubectl_command(*arguments), timeout=timeout, stdin=stdin, check=check)

    def kubectl_command(self, *arguments: str) -> list[str]:
        """Give the words of a kubectl call, for those who start it themselves."""
        return ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]

    def nodes(self) -> list[str]:
        """Give the names of the Kubernetes nodes."""
        return self.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a kubectl call that Kubernetes must refuse, and give what it says."""
        try:
            self.kubectl(*arguments, stdin=stdin)
        except CommandFailed as failed:
            return str(failed)
        raise AssertionError(f"not refused: kubectl {' '.join(arguments)}\n{stdin or ''}")

    def pause(self, node: str) -> None:
        """Freeze a Kubernetes node with all that runs on it."""
        run("docker", "pause", node)

    def resume(self, node: str) -> None:
        """Let a frozen node go on; nothing happens if it is not frozen."""
        run("docker", "unpause", node, check=False)

    def stop(self, node: str) -> None:
        """End a Kubernetes node with all that runs on it, as a machine that loses its power."""
        run("docker", "kill", node)

    def start(self, node: str) -> None:
        """Start a Kubernetes node that was stopped; nothing happens if it runs."""
        run("docker", "start", node)

    def start_all(self, addresses: dict[str, str]) -> None:
        """Start Kubernetes nodes that had these addresses, the lowest first.

        Docker gives the lowest one that is free; nodes that come back with each other's would reach nobody.
        """
        for node in sorted(addresses, key=lambda name: ip_address(addresses[name])):
            self.start(node)

    def addresses(self, nodes: list[str]) -> dict[str, str]:
        """Give the address of each Kubernetes node."""
        path = '{.status.addresses[?(@.type=="InternalIP")].address}'
        return {node: self.kubectl("get", "node", node, "-o", f"jsonpath={path}").strip() for node in nodes}

    def find(self, node: str, program: str) -> list[int]:
        """Give the ids, upon a Kubernetes node, of processes whose command line names a program."""
        return [int(pid) for pid in run("docker", "exec", node, "pgrep", "-f", program).split()]

    def on(self, node: str, script: str, *arguments: str) -> str:
        """Run a shell script upon a Kubernetes node."""
        return run("docker", "exec", node, "sh", "-ec", script, "sh", *arguments)

    def kill(self, node: str, pid: int) -> None:
        """End a process upon a Kubernetes node by SIGKILL."""
        run("docker", "exec", node, "kill", "-9", str(pid))

    @contextmanager
    def watch(self, *arguments: str) -> Iterator[IO[str]]:
        """Give the lines of `kubectl get --watch-only`, from now on."""
        command = self.kubectl_command("get", "--watch-only", "--request-timeout=90s", "-o", "name", *arguments)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                yield process.stdout
            finally:
                process.kill()


def create() -> Kind:
    """Make the cluster anew; one of an earlier run under the same name is deleted."""
    kubeconfig = OUT / "kubeconfig"
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    kind = Kind(name=NAME, kubeconfig=kubeconfig)
    if NAME in run("kind", "get", "clusters").split():
        if os.environ.get("REUSE"):
            kubeconfig.write_text(run("kind", "get", "kubeconfig", "--name", NAME))
            kind.kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds")
            for kind_of in ("snapshots", "dbclusters", "pods"):
                words = ("--all", "--namespace=default", "--timeout=100s")
                kind.kubectl("delete", kind_of, *words, timeout=110, check=False)
            return kind
        delete(kind)
    command = ["kind", "create", "cluster", "--name", NAME, "--config", "kind-config.yaml", "--wait", "180s"]
    if image := os.environ.get("KIND_NODE_IMAGE"):
        command += ["--image", image]
    run(*command, "--kubeconfig", str(kubeconfig), timeout=900)
    kind.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=180s", timeout=200)
    return kind


def delete(kind: Kind) -> None:
    """Delete the cluster with all its nodes; frozen ones are resumed first, for docker cannot stop them otherwise."""
    for node in run("kind", "get", "nodes", "--name", kind.name, check=False).split():
        kind.resume(node)
    run("kind", "delete", "cluster", "--name", kind.name, "--kubeconfig", str(kind.kubeconfig), timeout=300)
