"""Probes: one attempt is a yes or no; a watch turns attempts into a state by its thresholds."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

Object = Mapping[str, Any]
Exec = Callable[[Sequence[str], float], Awaitable[bool]]


@dataclass(slots=True, kw_only=True)
class Verdict:
    """State of a probe by its thresholds; begins unknown."""

    success_threshold: int
    failure_threshold: int
    healthy: bool | None = None
    streak: int = 0
    last: bool | None = None

    def count(self, success: bool) -> bool | None:
        """Take one attempt into account; give the state."""
        self.streak = self.streak + 1 if success is self.last else 1
        self.last = success
        if self.streak >= (self.success_threshold if success else self.failure_threshold):
            self.healthy = success
        return self.healthy


async def watch(
    probe: Object, attempt: Callable[[], Awaitable[bool]], tell: Callable[[bool], None], *, until: bool | None = None
) -> None:
    """Probe for ever, and tell each state that follows; end when it is `until`."""
    verdict = Verdict(
        success_threshold=probe.get("successThreshold", 1), failure_threshold=probe.get("failureThreshold", 3)
    )
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        before = verdict.healthy
        state = verdict.count(await attempt())
        if state is not None and state != before:
            tell(state)
        if state is not None and state is until:
            return
        await asyncio.sleep(probe.get("periodSeconds", 10))


async def attempt(probe: Object, *, address: str, ports: Mapping[str, int], run: Exec) -> bool:
    """Make one attempt."""
    timeout = float(probe.get("timeoutSeconds", 1))
    if "exec" in probe:
        return await run(probe["exec"]["command"], timeout)
    action = probe.get("httpGet") or probe.get("tcpSocket") or {}
    port = action.get("port", 0)
    number = ports.get(port, 0) if isinstance(port, str) and not port.isdigit() else int(port)
    host = action.get("host") or address
    return await (_http if "httpGet" in probe else _tcp)(action, host, number, timeout)


async def _http(action: Object, host: str, port: int, timeout: float) -> bool:
    url = f"{action.get('scheme', 'HTTP').lower()}://{host}:{port}{action.get('path', '/')}"
    headers = {h["name"]: h["value"] for h in action.get("httpHeaders", ())}
    limit = aiohttp.ClientTimeout(total=timeout)
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limit) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            return 200 <= response.status < 400
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def _tcp(_: Object, host: str, port: int, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            _reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def run_command(words: Sequence[str], timeout: float, *, env: Mapping[str, str], directory: str) -> bool:
    """Run an exec probe; whether it exited with zero in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            env=dict(env),
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(timeout):
            return await process.wait() == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
