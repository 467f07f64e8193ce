"""The port: what the operator asks of Kubernetes, and nothing more. Objects are plain mappings.

Every call raises `KubeDown` when there is no answer in time, `NotFound`, `Conflict` or `KubeError` by status.
"""

from typing import Any, Protocol, TypeAlias

from borealis_operator.plan.facts import Manifest

Object: TypeAlias = dict[str, Any]


class Kube(Protocol):
    """A Kubernetes API."""

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """Give one object."""
        ...

    async def list(self, kind: str, namespace: str, *, selector: str = "") -> list[Object]:
        """Give all objects of a namespace (empty: of all) whose labels match."""
        ...

    async def create(self, manifest: Manifest) -> Object:
        """Make an object; AlreadyExists if there is one of that name."""
        ...

    async def apply(self, manifest: Manifest) -> Object:
        """Make the fields of the manifest true, taking them from other managers if need be."""
        ...

    async def replace(self, manifest: Manifest) -> Object:
        """Put the object in place of the one of that resourceVersion; Conflict if there is a newer one."""
        ...

    async def patch(self, kind: str, namespace: str, name: str, body: Manifest, *, status: bool = False) -> Object:
        """Merge `body` into an object or its status (RFC 7386)."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of that uid."""
        ...
