"""The client of the real API: where it looks for it, who it says it is, and what it makes of the answers."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from borealis_operator.api.errors import AlreadyExists, Conflict, KubeDown, KubeError, NotFound
from borealis_operator.kube import credentials
from borealis_operator.kube.client import ApiServer, connect

Told = list[tuple[str, str, dict[str, str], Any]]


class Server:
    """Answers everything with what a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.answer = 200, b"{}"
        self.told: Told = []
        self.url = ""

    async def serve(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.told.append((request.method, request.path_qs, dict(request.headers), json.loads(body) if body else None))
        return web.Response(status=self.status, body=self.answer)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    runner = await server.serve()
    yield server
    await runner.cleanup()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write a kubeconfig for an address, as somebody does who runs the operator on his own machine."""

    def write(url: str) -> None:
        config = {
            "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    return write


@pytest.fixture
async def api(server: Server, outside: Callable[[str], None]) -> AsyncIterator[ApiServer]:
    outside(server.url)
    api = await connect()
    yield api
    await api.close()


async def test_calls_name_path_manager_and_form(api: ApiServer, server: Server) -> None:
    manifest = {"kind": "Secret", "metadata": {"namespace": "shop", "name": "s"}}
    await api.apply(manifest)
    await api.list("Pod", "shop", selector="a=b")
    await api.delete("Pod", "shop", "p", uid="u1")
    (apply, listed, deleted) = server.told
    assert apply[:2] == ("PATCH", "/api/v1/namespaces/shop/secrets/s?fieldManager=borealis-operator&force=true")
    assert (apply[2]["Content-Type"], apply[2]["Authorization"]) == ("application/apply-patch+yaml", "Bearer secret")
    assert apply[3] == manifest
    assert listed[:2] == ("GET", "/api/v1/namespaces/shop/pods?labelSelector=a%3Db")
    assert deleted[3]["preconditions"] == {"uid": "u1"}


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (429, "", KubeDown),
        (503, "", KubeDown),
        (403, "Forbidden", KubeError),
    ],
)
async def test_statuses_have_their_errors(
    api: ApiServer, server: Server, status: int, reason: str, error: type[Exception]
) -> None:
    server.status, server.answer = status, json.dumps({"reason": reason, "message": "why"}).encode()
    with pytest.raises(error, match="why") as raised:
        await api.get("Pod", "shop", "p")
    assert type(raised.value) is error


async def test_nobody_there_is_an_api_that_is_down(outside: Callable[[str], None]) -> None:
    outside("http://127.0.0.1:9")
    api = await connect()
    with pytest.raises(KubeDown, match="GET /api/v1/namespaces/shop/pods/p"):
        await api.get("Pod", "shop", "p")
    await api.close()


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")]
)
def test_the_framework_needs_no_name_service_in_a_pod(monkeypatch: pytest.MonkeyPatch, host: str, server: str) -> None:
    info = credentials.kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="first")
    monkeypatch.setattr(credentials.kopf, "login_with_service_account", lambda **_: info)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv(credentials.HOST, host)
    monkeypatch.setenv(credentials.PORT, "6443")
    assert credentials.find_credentials().server == server


async def test_without_credentials_it_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(KubeError, match="set KUBECONFIG"):
        await connect()


async def test_discovery_names_what_is_served(api: ApiServer, server: Server) -> None:
    server.answer = json.dumps({"resources": [{"name": "dbclusters"}, {"name": "dbclusters/status"}]}).encode()
    assert await api.served("borealis.dev", "v1alpha1") == {"dbclusters", "dbclusters/status"}
    assert server.told[0][:2] == ("GET", "/apis/borealis.dev/v1alpha1")
    server.status, server.answer = 404, b"404 page not found"
    assert await api.served("borealis.dev", "v1alpha1") == frozenset()
    server.status = 503
    with pytest.raises(KubeDown):
        await api.served("borealis.dev", "v1alpha1")
