"""An API server in memory, for tests: versions, conflicts, owner references, finalizers of nobody.

It counts writes and can fail at any of them, so that "a second pass writes nothing" and "a crash after each action
converges" are questions that it answers.
"""

import itertools
import marshal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from borealis_operator.api.errors import AlreadyExists, Conflict, NotFound
from borealis_operator.kube.kinds import KINDS
from borealis_operator.kube.port import Object
from borealis_operator.plan.facts import Manifest

Key = tuple[str, str, str]  # kind, namespace, name
T = TypeVar("T")


def copied(value: T) -> T:
    """Give a copy that shares nothing; plain data alone goes through, several times as fast as by copy.deepcopy."""
    return cast(T, marshal.loads(marshal.dumps(cast(Any, value))))


class Crash(BaseException):
    """The operator dies here."""


@dataclass(slots=True, kw_only=True)
class FakeKube:
    """The port `Kube`, in memory. `crash_after` counts writes down; the one after the last crashes, undone."""

    objects: dict[Key, Object] = field(default_factory=dict)
    writes: list[tuple[str, str, str]] = field(default_factory=list)  # verb, kind, name
    crash_after: int | None = None
    on_write: Callable[[str, str, str], None] = lambda verb, kind, name: None
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """Give one object."""
        return copied(self._live(kind, namespace, name))

    async def list(self, kind: str, namespace: str, *, selector: str = "") -> list[Object]:
        """Give all objects of a namespace (empty: of all) whose labels match."""
        wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
        return [
            copied(o)
            for (k, ns, _), o in sorted(self.objects.items())
            if k == kind and namespace in ("", ns) and wanted.items() <= (o["metadata"].get("labels") or {}).items()
        ]

    async def create(self, manifest: Manifest) -> Object:
        """Make an object; AlreadyExists if there is one of that name."""
        key = _key(manifest)
        self._write("create", key)
        if key in self.objects:
            raise AlreadyExists(f"{key} exists")
        return self.put(manifest)

    async def apply(self, manifest: Manifest) -> Object:
        """Make the fields of the manifest true."""
        key = _key(manifest)
        self._write("apply", key)
        return self.put(merge(self.objects.get(key, {}), manifest))

    async def replace(self, manifest: Manifest) -> Object:
        """Put the object in place of the one of that resourceVersion."""
        key = _key(manifest)
        self._write("replace", key)
        live = self._live(*key)
        if manifest["metadata"].get("resourceVersion") != live["metadata"]["resourceVersion"]:
            raise Conflict(f"{key} was written by somebody else")
        kept = {k: live["metadata"][k] for k in ("uid", "creationTimestamp")}
        return self.put({**manifest, "metadata": {**manifest["metadata"], **kept}})

    async def patch(self, kind: str, namespace: str, name: str, body: Manifest, *, status: bool = False) -> Object:
        """Merge `body` into an object or its status."""
        self._write("status" if status else "patch", (kind, namespace, name))
        live = self._live(kind, namespace, name)
        return self.put(merge(live, {"status": body.get("status", {})} if status else body))

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of that uid at once."""
        self._write("delete", (kind, namespace, name))
        if self._live(kind, namespace, name)["metadata"]["uid"] != uid:
            raise Conflict(f"{kind} {name} is another one now")
        self.remove(kind, namespace, name)

    def put(self, manifest: Manifest) -> Object:
        """Store an object without counting a write."""
        version = str(next(self._versions))
        stored = copied(dict(manifest))
        metadata = stored["metadata"]
        if "spec" in stored and self.objects.get(_key(stored), {}).get("spec") != stored["spec"]:
            metadata["generation"] = int(metadata.get("generation", 0)) + 1
        metadata.setdefault("uid", f"uid-{version}")
        metadata.setdefault("namespace", "")
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        metadata["resourceVersion"] = version
        self.objects[_key(stored)] = stored
        return copied(stored)

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Remove an object and all that it owns, without counting a write."""
        gone = self.objects.pop((kind, namespace, name), None)
        uid = gone["metadata"]["uid"] if gone else ""
        for key, child in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in child["metadata"].get("ownerReferences", ())):
                self.remove(*key)

    def _live(self, kind: str, namespace: str, name: str) -> Object:
        space = namespace if KINDS[kind].namespaced else ""
        if (kind, space, name) not in self.objects:
            raise NotFound(f"{kind} {space}/{name}")
        return self.objects[kind, space, name]

    def _write(self, verb: str, key: Key) -> None:
        if self.crash_after is not None:
            if self.crash_after == 0:
                raise Crash
            self.crash_after -= 1
        self.writes.append((verb, key[0], key[2]))
        self.on_write(verb, key[0], key[2])


def merge(live: Any, change: Any) -> Any:
    """Merge as RFC 7386 does."""
    if not isinstance(change, dict):
        return copied(change)
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _key(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
