"""What a failed scenario leaves to read: objects, events, descriptions and logs of everything that is ours."""

import contextlib
import re
from pathlib import Path

from e2e.kind import Kind
from e2e.process import OUT, CommandFailed

KINDS = "dbclusters,dbinstances,snapshots,hpa,pods,pvc,services,endpointslices,configmaps,leases,events"


def collect(kind: Kind, scenario: str, namespaces: tuple[str, ...]) -> Path:
    """Write `e2e/out/<scenario>/`; what cannot be had is left out, for the cluster may be half dead."""
    folder = OUT / re.sub(r"[^a-z0-9]+", "-", scenario.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    _save(kind, folder / "nodes.txt", "get", "nodes", "-o", "wide", "--show-labels")
    for namespace in namespaces:
        _save(kind, folder / f"{namespace}.txt", "get", KINDS, "-n", namespace, "-o", "wide")
        _save(kind, folder / f"{namespace}.events", "get", "events", "-n", namespace, "--sort-by=.lastTimestamp")
        _save(kind, folder / f"{namespace}.yaml", "get", KINDS, "-n", namespace, "-o", "yaml")
        _save(kind, folder / f"{namespace}.describe", "describe", "pods,dbclusters,dbinstances,hpa", "-n", namespace)
        _logs(kind, folder, namespace)
    return folder


def _logs(kind: Kind, folder: Path, namespace: str) -> None:
    pods = kind.kubectl("get", "pods", "-n", namespace, "-o", "name", check=False).split()
    for pod in pods:
        name = f"{namespace}.{pod.removeprefix('pod/')}"
        words = ("logs", "-n", namespace, pod, "--all-containers", "--timestamps", "--tail=5000")
        _save(kind, folder / f"{name}.log", *words)
        _save(kind, folder / f"{name}.previous.log", *words, "--previous")


def _save(kind: Kind, path: Path, *words: str) -> None:
    with contextlib.suppress(CommandFailed):
        path.write_text(kind.kubectl(*words, timeout=20))
