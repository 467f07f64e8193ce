"""Files that ship with Borealis (CRDs, admission policies, examples), in the source tree or in the package."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import borealis_local
from borealis_local.errors import CommandError

QUICKSTART = "quickstart.yaml"
_IN_THE_TREE = {"policies": "helm/borealis/policies"}


def directory(name: str) -> Path:
    """Give the directory `crds`, `policies` or `examples`; CommandError if it was not packaged."""
    package = Path(borealis_local.__file__).parent
    tree = package.parent.parent
    for candidate in (package / name, tree / _IN_THE_TREE.get(name, name)):
        if candidate.is_dir():
            return candidate
    raise CommandError(f"the directory {name}/ is neither in the package nor in a source tree around it")


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """Give the objects of a YAML file, those of a List one by one; CommandError if it cannot be read."""
    try:
        loaded = list(yaml.safe_load_all(path.read_text()))
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is not YAML: {error}") from error
    for document in loaded:
        if isinstance(document, dict) and document.get("kind") == "List":
            yield from document.get("items", [])
        elif isinstance(document, dict):
            yield document
        elif document is not None:
            raise CommandError(f"{path} holds something that is no object")
