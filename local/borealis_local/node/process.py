"""One run of a container: the shim, its log, its end."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from borealis_local.node import shim
from borealis_local.node.environment import Command

SHIM = Path(shim.__file__)
KEEP_LOG_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """A started container."""

    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """Process id of the shim."""
        return self.process.pid

    def terminate(self) -> None:
        """Ask the main process to end."""
        self._order(b"T")

    def kill(self) -> None:
        """Kill all of its processes."""
        self._order(b"K")

    def _order(self, order: bytes) -> None:
        stdin = self.process.stdin
        if stdin is not None and not stdin.is_closing() and self.process.returncode is None:
            stdin.write(order)

    async def wait(self) -> int:
        """Give the exit code once nothing of it is left."""
        code = await self.process.wait()
        return code if code >= 0 else 128 - code

    async def stop(self, grace: float) -> int:
        """End it: SIGTERM, and after `grace` seconds SIGKILL; give the exit code."""
        self.terminate()
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()


async def start(command: Command, *, directory: Path, log: Path) -> Run:
    """Start a container's command; its output goes to the end of `log`."""
    descriptor = _open_log(log)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(SHIM),
            *command.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=descriptor,
            stderr=descriptor,
            cwd=directory,
            env=dict(command.env),
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    return Run(process)


def _open_log(log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > KEEP_LOG_BYTES:
        log.replace(log.with_suffix(".1.log"))
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give what every container's environment begins with; this Python's scripts come first on PATH."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME", "PG_BIN", "SSL_CERT_FILE")
    env = {k: environ[k] for k in kept if k in environ}
    scripts = str(Path(sys.executable).parent)
    return {**env, "PATH": os.pathsep.join([scripts, env.get("PATH", os.defpath)]), "PYTHONUNBUFFERED": "1"}


def postmasters(shim_pid: int) -> list[int]:
    """Give the PostgreSQL servers beneath a container: postgres processes whose parent is none."""
    found = shim.descendants(shim_pid)
    names = {pid: _name(pid) for pid in found}
    return [p for p in found if names[p] == "postgres" and names.get(shim.parent_of(p) or 0) != "postgres"]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill_postmasters(shim_pid: int) -> list[int]:
    """SIGKILL the PostgreSQL servers beneath a container; give their process ids."""
    killed = postmasters(shim_pid)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    return killed
