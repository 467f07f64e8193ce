"""A small synchronous client of the API server, for commands."""

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from borealis_local.errors import CommandError
from borealis_local.state import API_PORT, Identity, State, read_identity

Object = dict[str, Any]
TIMEOUT_S = 10.0
APPLY = "application/apply-patch+yaml"
NOT_UP = "borealis local is not up: start it with `borealis local up`"


class RequestFailed(CommandError):
    """The API server refused; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind as discovery tells it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    names: frozenset[str]  # lower case: plural, singular, kind, short names
    categories: frozenset[str]

    def path(self, namespace: str, name: str = "") -> str:
        """Give the path of a collection or an object."""
        base = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{base}{scope}/{self.plural}" + (f"/{name}" if name else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Requests to one API server."""

    identity: Identity
    context: ssl.SSLContext

    @classmethod
    def of(cls, state: State) -> "Client":
        """Give the client of a state directory; CommandError if it was never up."""
        identity = read_identity(state)
        if identity is None:
            raise CommandError(NOT_UP)
        return cls(identity=identity, context=ssl.create_default_context(cafile=str(state.tls / "tls.crt")))

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", accept: str = ""
    ) -> Any:
        """Make a request; give the parsed answer. CommandError if nobody answers, RequestFailed if it is refused."""
        headers = {"Authorization": f"Bearer {self.identity.token}", "User-Agent": "borealis"}
        headers |= {"Content-Type": kind} if body is not None else {}
        headers |= {"Accept": accept or "application/json"}
        connection = http.client.HTTPSConnection(
            self.identity.address, API_PORT, timeout=TIMEOUT_S, context=self.context
        )
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(NOT_UP) from error
        finally:
            connection.close()
        return _parsed(response, raw)

    def is_up(self) -> bool:
        """Whether the server answers."""
        try:
            self.request("GET", "/readyz")
        except CommandError:
            return False
        return True

    # --- objects ---------------------------------------------------------------------------------------------------

    def kinds(self) -> list[Kind]:
        """Give all kinds that the server serves."""
        versions = ["v1"]
        groups = self.request("GET", "/apis")["groups"]
        versions += [v["groupVersion"] for g in groups for v in g["versions"]]
        found = []
        for version in versions:
            prefix = "/apis/" if "/" in version else "/api/"
            for raw in self.request("GET", prefix + version)["resources"]:
                if "/" not in raw["name"]:
                    found.append(_kind(version, raw))
        return found

    def find_kind(self, name: str) -> Kind:
        """Give the kind that a user means; CommandError lists the kinds if there is none."""
        kinds, wanted = self.kinds(), name.lower().partition(".")[0]
        for kind in kinds:
            if wanted in kind.names:
                return kind
        listed = ", ".join(sorted({k.kind.lower() for k in kinds}))
        raise CommandError(f'there is no kind "{name}"; there are: {listed}')

    def apply(self, obj: Mapping[str, Any], namespace: str) -> Object:
        """Apply an object as the user's."""
        told = (obj.get("apiVersion", ""), obj.get("kind", ""))
        kind = next((k for k in self.kinds() if (k.api_version, k.kind) == told), None)
        if kind is None:
            raise CommandError(f'no matches for kind "{told[1]}" in version "{told[0]}"')
        metadata = obj.get("metadata") or {}
        path = kind.path(metadata.get("namespace") or namespace, metadata.get("name", ""))
        query = urlencode({"fieldManager": "borealis", "force": "true", "fieldValidation": "Strict"})
        return dict(self.request("PATCH", f"{path}?{query}", obj, kind=APPLY))

    def find(self, path: str) -> Object | None:
        """Give an object, or None if there is none."""
        try:
            return dict(self.request("GET", path))
        except RequestFailed as error:
            if error.code == 404:
                return None
            raise

    def items(self, path: str) -> Sequence[Object]:
        """Give the objects of a collection."""
        return list(self.request("GET", path)["items"])


def _parsed(response: http.client.HTTPResponse, raw: bytes) -> Any:
    text = raw.decode(errors="replace")
    if response.status >= 400:
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError):
            message = text or response.reason
        raise RequestFailed(response.status, message)
    return json.loads(text) if "json" in (response.getheader("Content-Type") or "") else text


def _kind(version: str, raw: Mapping[str, Any]) -> Kind:
    names = {raw["name"], raw["singularName"], raw["kind"].lower(), *raw.get("shortNames", ())}
    return Kind(
        api_version=version,
        kind=raw["kind"],
        plural=raw["name"],
        namespaced=raw["namespaced"],
        names=frozenset(names - {""}),
        categories=frozenset(raw.get("categories", ())),
    )
