"""A raw client for the conformance suite: every header and status code is the test's own."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Object = dict[str, Any]
APPLY, JSON_PATCH = "application/apply-patch+yaml", "application/json-patch+json"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status code, body and headers."""

    code: int
    body: Any
    headers: Mapping[str, str]

    def ok(self) -> Any:
        """Give the body of a success."""
        assert self.code < 300, self.body
        return self.body

    def failed(self, code: int, reason: str) -> Object:
        """Give the Status of a failure that is this one."""
        assert self.code == code, self.body
        assert self.body["kind"] == "Status"
        assert (self.body["status"], self.body["reason"], self.body["code"]) == ("Failure", reason, code)
        return dict(self.body)


class Kube:
    """Requests to the cluster of a kubeconfig, in one namespace."""

    def __init__(self, session: aiohttp.ClientSession, base: str, namespace: str) -> None:
        self.session, self.base, self.namespace = session, base, namespace

    async def send(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        """Make a request; options: `query`, `accept`, `kind` (content type)."""
        headers = {"Accept": options.get("accept", "application/json")}
        data = None
        if body is not None:
            headers["Content-Type"] = options.get("kind", "application/json")
            data = body if isinstance(body, str | bytes) else json.dumps(body)
        url = self.base + path
        async with self.session.request(
            method, url, data=data, headers=headers, params=options.get("query") or {}
        ) as response:
            text = await response.text(errors="replace")  # Kubernetes answers in protobuf if that is accepted
            lines = (options.get("query") or {}).get("watch") == "true"  # of JSON; left to the caller
            parsed = json.loads(text) if "json" in response.content_type and not lines else text
            return Answer(response.status, parsed, response.headers)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator["Watch"]:
        """Open a watch."""
        params = {"watch": "true", "timeoutSeconds": "60", **query}
        async with self.session.get(self.base + path, params=params) as response:
            assert response.status == 200, await response.text()
            yield Watch(response)


class Watch:
    """Events of an open watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, Object]:
        """Give the next event, within the deadline."""
        line = await asyncio.wait_for(self._response.content.readline(), DEADLINE_S)
        assert line, "the watch ended"
        event = json.loads(line)
        return event["type"], event["object"]

    async def names(self, count: int) -> list[tuple[str, str]]:
        """Give type and object name of the next events."""
        found = [await self.next() for _ in range(count)]
        return [(t, o["metadata"]["name"]) for t, o in found]


@asynccontextmanager
async def connect(kubeconfig: Path, namespace: str) -> AsyncIterator[Kube]:
    """Connect by the current context of a kubeconfig: token or client certificate."""
    raw = _read(kubeconfig)
    context = next(c["context"] for c in raw["contexts"] if c["name"] == raw["current-context"])
    cluster = next(c["cluster"] for c in raw["clusters"] if c["name"] == context["cluster"])
    user = next(u["user"] for u in raw["users"] if u["name"] == context["user"])
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    tls = ssl.create_default_context(cadata=authority)
    if "client-certificate-data" in user:
        _load_certificate(tls, user)
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield Kube(session, cluster["server"], namespace)


def _read(kubeconfig: Path) -> Object:
    return dict(yaml.safe_load(kubeconfig.read_text()))


def _load_certificate(tls: ssl.SSLContext, user: Object) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("certificate", "key"):
            Path(scratch, name).write_bytes(base64.b64decode(user[f"client-{name}-data"]))
        tls.load_cert_chain(Path(scratch, "certificate"), Path(scratch, "key"))


async def until(condition: Any, what: str) -> Any:
    """Await a coroutine function's truthy answer, within the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            answer = await condition()
            if answer:
                return answer
            await asyncio.sleep(0.05)
    raise AssertionError(what)
