"""A real `borealis-agent` process beside net.testing's storage nodes, driven as the operator would.

The test is its kubelet: it sees that the process ended and starts it again. Processes die with the one that started
them; the log lies in `<directory>/<name>.log`.
"""

import asyncio
import os
import signal
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import aiohttp
import psycopg

from borealis_engine.contract import names
from borealis_engine.contract.status import DatabaseSpec, InstanceStatus, Role
from borealis_engine.net.testing import StorageNodes
from borealis_engine.net.testing.program import Program

DEADLINE_S: Final = 120.0
POLL_S: Final = 0.05
ZONES: Final = "abc"


class Agent:
    """Instance number `number` of a volume; `start` may be called again after its process ended."""

    def __init__(self, nodes: StorageNodes, directory: Path, number: int) -> None:
        self.nodes, self.directory, self.number = nodes, directory, number
        self.name = f"{nodes.cluster}-instance-{number}"
        self.address = nodes.address(101 + number)
        self.log_path = directory / f"{self.name}.log"
        self.process: Program | None = None

    async def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Start the process; what it does shows in its status."""
        environment = self.nodes.environment(
            names.ROLE_INSTANCE,
            pod=self.name,
            ip=self.address,
            zone=f"zone-{ZONES[self.number % 3]}",
            data=self.directory / f"data-{self.number}",
        )
        environment[names.ENV_RUN_DIR] = str(self.directory / f"run-{self.number}")
        environment.update(extra or {})
        main = "borealis_engine.main.agent:main"
        self.process = await Program.start(main, environment=environment, output=self.log_path)

    async def lead(self, spec: DatabaseSpec) -> None:
        """Make it the writer of a new volume, with the database specification in force; after `start`."""
        await self.until(lambda status: status.role is Role.STARTING)
        promoted = await self.post(names.PROMOTE)
        await self.ready(Role.WRITER)
        if (answers := (promoted, await self.apply(spec))) != (202, 200):
            raise RuntimeError(f"{self.name} answered {answers}:\n{self.log()}")

    async def status(self) -> InstanceStatus:
        """Ask over the control port; aiohttp.ClientError if it does not answer."""
        async with self._session() as session, session.get(self._url(names.STATUS), ssl=self._tls()) as reply:
            return InstanceStatus.from_json(await reply.read())

    async def post(self, path: str) -> int:
        """Send a command and give the HTTP status."""
        async with self._session() as session, session.post(self._url(path), ssl=self._tls()) as reply:
            return reply.status

    async def apply(self, spec: DatabaseSpec) -> int:
        """PUT the database specification and give the HTTP status."""
        return await self.put(names.DATABASE, spec.to_json())

    async def put(self, path: str, body: str) -> int:
        """PUT something and give the HTTP status."""
        async with self._session() as session, session.put(self._url(path), data=body, ssl=self._tls()) as reply:
            return reply.status

    async def probe(self, path: str) -> tuple[int, str]:
        """GET from the probe port; the HTTP status and the text."""
        url = f"http://{self.address}:{names.PROBE_PORT}{path}"
        async with self._session() as session, session.get(url) as reply:
            return reply.status, await reply.text()

    async def until(self, wanted: Callable[[InstanceStatus], bool], deadline_s: float = DEADLINE_S) -> InstanceStatus:
        """Wait for a status; TimeoutError with the log if it does not come."""
        last: object = "no status"
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    try:
                        last = status = await self.status()
                        if wanted(status):
                            return status
                    except aiohttp.ClientError as error:
                        last = error
                    if self.process is not None and self.process.returncode is not None:
                        raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise TimeoutError(f"{self.name} is at {last}:\n{self.log()}") from error

    async def ready(self, role: Role, deadline_s: float = DEADLINE_S) -> InstanceStatus:
        """Wait until it serves in a role."""
        return await self.until(lambda status: status.role is role and status.ready, deadline_s)

    async def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait until the process has ended and give its exit status."""
        assert self.process is not None
        async with asyncio.timeout(deadline_s):
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL the agent; its PostgreSQL dies with it."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            await self.process.wait()

    def postgres(self) -> set[int]:
        """Give the process ids of all of this instance's PostgreSQL processes."""
        inside = str((self.directory / f"data-{self.number}").resolve())
        found = set()
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(inside):
                    found.add(int(entry.name))
            except OSError:
                continue
        return found

    def postmaster(self) -> int:
        """Give the process id of its postmaster: the one whose parent is the agent."""
        assert self.process is not None
        (found,) = (pid for pid in self.postgres() if _parent(pid) == self.process.pid)
        return found

    async def connect(self, spec: DatabaseSpec, **more: str) -> "psycopg.AsyncConnection[tuple[object, ...]]":
        """Connect over TCP as the master user; `more` is libpq's."""
        conninfo = psycopg.conninfo.make_conninfo(
            hostaddr=self.address, port=names.POSTGRES_PORT, user=spec.master_username, password=spec.master_password,
            dbname=spec.database_name or "postgres", connect_timeout=5, **more,
        )  # fmt: skip
        return await psycopg.AsyncConnection.connect(conninfo, autocommit=True)

    def log(self) -> str:
        """Give what it has logged so far."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    def _tls(self) -> ssl.SSLContext:
        return self.nodes.tls(names.ROLE_OPERATOR).client

    def _url(self, path: str) -> str:
        return f"https://{self.address}:{names.CONTROL_PORT}{path}"


def _parent(pid: int) -> int:
    """Give the parent of a process, 0 if it is gone (proc(5): field 4 of stat; the name may hold anything)."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
