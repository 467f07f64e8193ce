"""What pods mount, as directories: emptyDir, Secret, ConfigMap, claims.

A Secret's files are readable by their owner alone; an emptyDir can be entered by PostgreSQL's user. Directory names
are short because unix sockets lie in them. An emptyDir lives as long as its pod, over restarts of containers.
"""

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from borealis_local.errors import PodError

Object = Mapping[str, Any]
Find = Callable[[str, str], Object | None]  # kind, name -> object of the pod's namespace
FindPath = Callable[[str], Path | None]  # claim name -> directory, once bound


def pod_directory(pods: Path, pod: Object) -> Path:
    """Give the directory of a pod."""
    return pods / str(pod["metadata"]["uid"]).replace("-", "")[:8]


def prepare(pod: Object, directory: Path, *, find: Find, claim_path: FindPath) -> dict[str, Path]:
    """Make a pod's volumes; give their directories by name. PodError while something is missing."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    paths: dict[str, Path] = {}
    for index, volume in enumerate(pod["spec"].get("volumes", ())):
        paths[volume["name"]] = _volume(volume, directory / str(index), find=find, claim_path=claim_path)
    return paths


def _volume(volume: Object, path: Path, *, find: Find, claim_path: FindPath) -> Path:
    if "persistentVolumeClaim" in volume:
        name = volume["persistentVolumeClaim"]["claimName"]
        bound = claim_path(name)
        if bound is None:
            raise PodError("ContainerCreating", f'persistentvolumeclaim "{name}" is not bound')
        return bound
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"])
    if "emptyDir" in volume:
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
        return path
    files = wanted_files(volume, find)
    write_files(path, files)
    return path


def wanted_files(volume: Object, find: Find) -> dict[str, bytes]:
    """Give the files of a Secret, ConfigMap or projected volume. PodError if one of them is missing."""
    if "projected" in volume:
        merged: dict[str, bytes] = {}
        for source in volume["projected"].get("sources", ()):
            merged |= wanted_files(source, find)
        return merged
    if "secret" in volume:
        source = volume["secret"]
        return _files("Secret", source.get("secretName") or source["name"], source, find)
    if "configMap" in volume:
        return _files("ConfigMap", volume["configMap"]["name"], volume["configMap"], find)
    raise PodError("ContainerCreating", f"local mode has no volumes of this type: {sorted(volume)}")


def _files(kind: str, name: str, source: Object, find: Find) -> dict[str, bytes]:
    found = find(kind, name)
    if found is None:
        if source.get("optional"):
            return {}
        raise PodError("ContainerCreating", f'MountVolume.SetUp failed: {kind.lower()} "{name}" not found')
    data = found.get("data") or {}
    files = {k: base64.b64decode(v) if kind == "Secret" else v.encode() for k, v in data.items()}
    if "items" in source:
        return {i["path"]: files[i["key"]] for i in source["items"] if i["key"] in files}
    return files


def write_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a directory hold exactly these files, each replaced as a whole."""
    path.mkdir(exist_ok=True)
    path.chmod(0o700)
    for name, content in files.items():
        target = path / name
        if ".." in target.parts or not target.is_relative_to(path):
            raise PodError("CreateContainerConfigError", f"the key {name!r} is no name of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.read_bytes() == content:
            continue
        temporary = target.with_name(f".{target.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(target)
    for stale in path.iterdir():
        if stale.is_file() and stale.name not in files:
            stale.unlink()


def mounts(container: Object, volumes: Mapping[str, Path]) -> dict[str, Path]:
    """Give the directories of a container's mountPaths."""
    found = {}
    for mount in container.get("volumeMounts", ()):
        base = volumes[mount["name"]]
        path = base / mount["subPath"] if mount.get("subPath") else base
        if mount.get("subPath") and not path.exists():
            path.mkdir(parents=True)
        found[mount["mountPath"]] = path
    return found
