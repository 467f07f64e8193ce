"""The operator's probes: connections that ask nothing, or slowly, keep no kubelet out and do not stay."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest
from borealis_operator.main import door
from borealis_operator.main.health import Health

HOST = f"127.78.{os.getpid() >> 8 & 255}.{os.getpid() % 254 + 1}"
PORT = 7402
DEADLINE_S = 10.0


@pytest.fixture
async def health() -> AsyncIterator[Health]:
    health = Health()
    runner = await health.serve(HOST, PORT)
    yield health
    await runner.cleanup()
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection(HOST, PORT)


async def probe(path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{PORT}{path}") as reply:
        return reply.status


async def test_idle_connections_make_room_for_a_newcomer(health: Health) -> None:
    lines = []
    for number in range(door.MOST + 2 * door.PER_ADDRESS):
        source = (f"127.9.9.{1 + number % 5}", 0)
        lines.append(await asyncio.open_connection(HOST, PORT, local_addr=source))
    assert [await probe(path) for path in ("/healthz", "/readyz", "/metrics")] == [200, 503, 200]
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            assert await lines[0][0].read() == b""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await lines[-1][0].read()
    for _, writer in lines:
        writer.close()


async def test_a_request_has_a_deadline_as_a_whole(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PATIENCE_S", 0.3)
    reader, writer = await asyncio.open_connection(HOST, PORT)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
