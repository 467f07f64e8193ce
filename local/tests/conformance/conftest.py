"""The server under test: a fresh one of ours, or the cluster that CONFORMANCE_KUBECONFIG names."""

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from borealis_local.cli import background
from borealis_local.state import State
from kube import Kube, connect
from widgets import CRD, CRD_PATH, Widgets, install

ENV = "CONFORMANCE_KUBECONFIG"


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """Kubeconfig of the server under test."""
    if told := os.environ.get(ENV):
        yield Path(told)
        asyncio.run(_uninstall(Path(told)))
        return
    root = Path(tempfile.mkdtemp(prefix="blc"))
    state = State(root=root)
    try:
        background.start(state, operator=False)
        yield state.kubeconfig
    finally:
        background.stop(state)
        shutil.rmtree(root, ignore_errors=True)


async def _uninstall(kubeconfig: Path) -> None:
    async with connect(kubeconfig, "") as client:
        await client.send("DELETE", f"{CRD_PATH}/{CRD['metadata']['name']}")


@pytest.fixture
async def kube(kubeconfig: Path) -> AsyncIterator[Kube]:
    """A client in a namespace of the test's own."""
    namespace = f"conformance-{secrets.token_hex(4)}"
    async with connect(kubeconfig, namespace) as client:
        await install(client)
        yield client
        (await client.send("DELETE", f"/api/v1/namespaces/{namespace}")).ok()


@pytest.fixture
def widgets(kube: Kube) -> Widgets:
    """Widgets of the test's namespace."""
    return Widgets(kube)
