"""The environment and the command line of a container, from its description.

`$(NAME)` is expanded from the variables defined before, `$$` escapes it, and an unknown name stays as it is, as in
Kubernetes. Mount paths are rewritten before that, once: what is expanded holds real paths already. Values that come
from Secrets are never rewritten.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from borealis_local.errors import PodError
from borealis_local.machinery.resources import dig
from borealis_local.node.paths import Rewriter

Object = Mapping[str, Any]
Lookup = Callable[[str, str], Object | None]  # kind ("Secret" or "ConfigMap"), name -> object
IMAGE: Final = "local"  # the only image there is: this machine's own programs
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z0-9_.-]+)\)")
_FIELD_KEY = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to execute."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by what `env` says."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(replaced, text)


def command(container: Object, pod: Object, *, base: Mapping[str, str], lookup: Lookup, paths: Rewriter) -> Command:
    """Give what to execute for a container; PodError if it cannot be told."""
    if container.get("image", IMAGE) != IMAGE:
        raise _not_pulled(str(container["image"]))
    env = variables(container, pod, lookup=lookup, paths=paths)
    words = [*container.get("command", ()), *container.get("args", ())]
    if not container.get("command"):
        raise PodError(
            "CreateContainerConfigError",
            f'container "{container["name"]}" names no command, and local mode has no image to take one from',
        )
    argv = [expand(w, env) for w in paths.texts(words)]
    return Command(argv=tuple(argv), env={**base, **env})


def _not_pulled(image: str) -> PodError:
    why = f"local mode pulls no images: it has this machine's own programs only, under the name {IMAGE}"
    return PodError("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {why}')


def variables(container: Object, pod: Object, *, lookup: Lookup, paths: Rewriter) -> dict[str, str]:
    """Give a container's own variables, in their order of definition."""
    env: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        env |= _all_of(source, lookup)
    for entry in container.get("env", ()):
        if "valueFrom" in entry:
            value = _value_from(entry["valueFrom"], pod, lookup)
        else:
            value = expand(paths.text(entry.get("value") or ""), env)
        if value is not None:
            env[entry["name"]] = value
    return env


def _all_of(source: Object, lookup: Lookup) -> dict[str, str]:
    kind = "Secret" if "secretRef" in source else "ConfigMap"
    reference = source.get("secretRef") or source.get("configMapRef") or {}
    found = lookup(kind, reference["name"])
    if found is None:
        if reference.get("optional"):
            return {}
        raise _missing(kind, reference["name"])
    return {source.get("prefix", "") + k: v for k, v in contents(kind, found).items()}


def contents(kind: str, obj: Object) -> dict[str, str]:
    """Give the values of a Secret or ConfigMap as text."""
    data = obj.get("data") or {}
    return {k: base64.b64decode(v).decode() for k, v in data.items()} if kind == "Secret" else dict(data)


def _value_from(source: Object, pod: Object, lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return "0"
    kind, key = ("Secret", "secretKeyRef") if "secretKeyRef" in source else ("ConfigMap", "configMapKeyRef")
    reference = source[key]
    found = lookup(kind, reference["name"])
    values = contents(kind, found) if found is not None else {}
    if reference["key"] in values:
        return values[reference["key"]]
    if reference.get("optional"):
        return None
    if found is None:
        raise _missing(kind, reference["name"])
    raise PodError("CreateContainerConfigError", f'no key "{reference["key"]}" in {kind} "{reference["name"]}"')


def _missing(kind: str, name: str) -> PodError:
    return PodError("CreateContainerConfigError", f'{kind.lower()} "{name}" not found')


def field(pod: Object, path: str) -> str:
    """Give a field of a pod as the downward API does."""
    if match := _FIELD_KEY.match(path):
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    value = dig(pod, path)
    return "" if value is None else str(value)


def rewritten_probe(words: Sequence[str], env: Mapping[str, str], paths: Rewriter) -> list[str]:
    """Give the command of an exec probe."""
    return [expand(w, env) for w in paths.texts(words)]
