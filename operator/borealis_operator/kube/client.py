"""The adapter of the port to a real API server, over the official asynchronous client's transport.

Only the transport and the credentials of that client are used: objects stay plain mappings, and paths come from the
table of kinds, so that no discovery is needed.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from kubernetes.aio import client as transport
from kubernetes.aio import config as credentials

from borealis_operator.api.errors import AlreadyExists, Conflict, KubeDown, KubeError, NotFound
from borealis_operator.api.names import FIELD_MANAGER
from borealis_operator.kube.kinds import KINDS
from borealis_operator.kube.port import Object
from borealis_operator.plan.facts import Manifest

TIMEOUT_S: Final = 5.0
JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"


async def connect() -> "ApiServer":
    """Find the API server as any client does: the pod's service account, else KUBECONFIG."""
    configuration = transport.Configuration()
    path = os.environ.get("KUBECONFIG") or None  # the library reads it only once, when it is imported
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            credentials.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await credentials.load_kube_config(path, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except credentials.ConfigException as error:
        raise KubeError(f"no access to a Kubernetes API: {error}; set KUBECONFIG") from error
    return ApiServer(transport.ApiClient(configuration))


class ApiServer:
    """A Kubernetes API server."""

    def __init__(self, api: Any) -> None:
        self._api = api

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Give the plural names of the kinds that discovery knows in a group; none if it does not know that."""
        try:
            answer = await self._call("GET", f"/apis/{group}/{version}")
        except NotFound:
            return frozenset()
        return frozenset(str(resource["name"]) for resource in answer.get("resources") or ())

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """Give one object."""
        return await self._call("GET", KINDS[kind].path(namespace, name))

    async def list(self, kind: str, namespace: str, *, selector: str = "") -> list[Object]:
        """Give all objects of a namespace (empty: of all) whose labels match, with the kind that lists leave out."""
        query = {"labelSelector": selector} if selector else {}
        answer = await self._call("GET", KINDS[kind].path(namespace), query=query)
        head = {"apiVersion": KINDS[kind].api_version, "kind": kind}
        return [head | item for item in answer.get("items") or ()]

    async def create(self, manifest: Manifest) -> Object:
        """Make an object; AlreadyExists if there is one of that name."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("POST", _path(manifest, named=False), body=manifest, query=query)

    async def apply(self, manifest: Manifest) -> Object:
        """Make the fields of the manifest true by server-side apply."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._call("PATCH", _path(manifest), body=manifest, query=query, content=APPLY)

    async def replace(self, manifest: Manifest) -> Object:
        """Put the object in place of the one of that resourceVersion."""
        return await self._call("PUT", _path(manifest), body=manifest, query={"fieldManager": FIELD_MANAGER})

    async def patch(self, kind: str, namespace: str, name: str, body: Manifest, *, status: bool = False) -> Object:
        """Merge `body` into an object or its status (RFC 7386)."""
        path = KINDS[kind].path(namespace, name, "status" if status else "")
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("PATCH", path, body=body, query=query, content=MERGE)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of that uid, its dependents in the background."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        await self._call("DELETE", KINDS[kind].path(namespace, name), body=body)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | None = None,
        query: Mapping[str, str] | None = None,
        content: str = JSON,
    ) -> Object:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                request = await self._api.param_serialize(
                    method,
                    path,
                    query_params=list((query or {}).items()),
                    header_params={"Accept": JSON, "Content-Type": content},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                answer = await self._api.call_api(*request)
                data = await answer.read()
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise KubeDown(f"{method} {path}: {error or type(error).__name__}") from error
        return _decode(method, path, answer.status, data)


def _path(manifest: Manifest, *, named: bool = True) -> str:
    metadata = manifest["metadata"]
    name = metadata["name"] if named else ""
    return KINDS[manifest["kind"]].path(metadata.get("namespace", ""), name)


def _decode(method: str, path: str, status: int, data: bytes) -> Object:
    """Give the object of an answer, or raise what its status means."""
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        answer = {"message": data[:200].decode(errors="replace")}
    if status < 400:
        return dict(answer)
    conflict = AlreadyExists if answer.get("reason") == "AlreadyExists" else Conflict
    blame = {404: NotFound, 409: conflict, 429: KubeDown}.get(status, KubeDown if status >= 500 else KubeError)
    raise blame(f"{method} {path}: {status} {answer.get('message', '')}")
