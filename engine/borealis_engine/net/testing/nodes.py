"""Six real `borealis-storage` processes on addresses of a loopback subnet of their own.

Every run takes another subnet of 127/8, so the well-known ports serve and runs beside each other do not meet. Processes
die with the one that started them; logs lie in `<directory>/<name>.log`.
"""

import asyncio
import os
import secrets
import signal
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from borealis_engine.contract import names
from borealis_engine.contract.status import Claim, StorageState, StorageStatus
from borealis_engine.contract.volume import Generation, Joining, Member, MemberId, VolumeConfig
from borealis_engine.net.testing.authority import make_certificates
from borealis_engine.net.testing.program import Program
from borealis_engine.net.tls import Tls, load_tls

START_DEADLINE_S = 30.0
_POLL_S = 0.05


class StorageNodes:
    """A sealed volume of storage nodes; an async context manager that starts all and kills all."""

    def __init__(
        self, directory: Path, *, count: int = 6, lease_s: float = names.DEFAULT_LEASE_S, cluster: str = "test"
    ) -> None:
        self.directory = directory
        self.cluster = cluster
        self.cluster_uid = str(uuid.uuid4())
        self.lease_s = lease_s
        self.subnet = f"127.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}"
        self.certificates = make_certificates(directory / "tls", cluster_uid=self.cluster_uid)
        self._contexts: dict[str, Tls] = {}
        self.config = VolumeConfig(
            cluster_uid=self.cluster_uid,
            generation=Generation(1),
            revision=1,
            sealed=True,
            members=tuple(self._member(number) for number in range(count)),
        )
        self._known = dict(enumerate(self.config.members))  # by number; a number beyond the first joins later
        self.processes: dict[int, Program] = {}

    async def __aenter__(self) -> Self:
        await self.start(*range(len(self.config.members)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill(*list(self.processes))

    def address(self, number: int) -> str:
        """Give an address of this run's subnet: members have 1 to 6, others are free for instances."""
        return f"{self.subnet}.{number}"

    def tls(self, role: str) -> Tls:
        """Give the TLS contexts of a role, the same ones each time."""
        if role not in self._contexts:
            self._contexts[role] = load_tls(self.certificates[role], cluster_uid=self.cluster_uid)
        return self._contexts[role]

    def environment(self, role: str, *, pod: str, ip: str, zone: str, data: Path) -> dict[str, str]:
        """Give the environment of a pod of this cluster, as the operator would make it."""
        return {
            **os.environ,
            names.ENV_CLUSTER: self.cluster,
            names.ENV_CLUSTER_UID: self.cluster_uid,
            names.ENV_ZONE: zone,
            names.ENV_TLS_DIR: str(self.certificates[role]),
            names.ENV_VOLUME: self.config.to_json(),
            names.ENV_DATA_DIR: str(data),
            names.ENV_LEASE_SECONDS: str(self.lease_s),
            names.ENV_POD_NAME: pod,
            names.ENV_POD_UID: str(uuid.uuid4()),
            names.ENV_POD_IP: ip,
        }

    async def start(self, *numbers: int, format_disk: bool = True) -> None:
        """Start nodes and wait until each one answers for its status."""
        for number in numbers:
            await self._spawn(number, format_disk=format_disk)
        for number in numbers:
            await self.answering(number)

    async def kill(self, *numbers: int) -> None:
        """SIGKILL nodes and reap them."""
        await self._end(numbers, signal.SIGKILL)

    async def stop(self, *numbers: int) -> None:
        """SIGTERM nodes and reap them."""
        await self._end(numbers, signal.SIGTERM)

    @asynccontextmanager
    async def frozen(self, *numbers: int) -> AsyncIterator[None]:
        """Have nodes stand still for the time of the block, which begins once none of their threads is at work."""
        held = [self.processes[number] for number in numbers]
        try:
            for process in held:
                await process.freeze()
            yield
        finally:
            for process in held:
                process.send_signal(signal.SIGCONT)

    async def push(self, config: VolumeConfig, *numbers: int) -> None:
        """Put a configuration to nodes, as the operator does; it is the one of this volume from here on."""
        self.config = config
        async with aiohttp.ClientSession() as session:
            for number in numbers:
                url = f"https://{self.address(number + 1)}:{names.CONTROL_PORT}{names.VOLUME}"
                async with session.put(url, data=config.to_json(), ssl=self._operator()) as reply:
                    reply.raise_for_status()

    async def hold(self, number: int, size: int) -> None:
        """Tell a node how many bytes it may take, as the operator does."""
        url = f"https://{self.address(number + 1)}:{names.CONTROL_PORT}{names.CLAIM}"
        async with (
            aiohttp.ClientSession() as session,
            session.put(url, data=Claim(size=size).to_json(), ssl=self._operator()) as reply,
        ):
            reply.raise_for_status()

    async def join(self, number: int, *, replaces: int) -> VolumeConfig:
        """Start a node with an empty disk that is to take a member's place; give the joint configuration."""
        generation = Generation(self.config.generation + 1)
        joining = Joining(member=self._member(number), replaces=self.config.members[replaces].id)
        self.config = replace(self.config, generation=generation, joining=joining)
        self._known[number] = joining.member
        await self.start(number)
        return self.config

    def joined(self) -> VolumeConfig:
        """Give the configuration in which the joiner has taken the other's place."""
        config, joining = self.config, self.config.joining
        if joining is None:
            raise ValueError("nobody is joining")
        six = tuple(joining.member if m.id == joining.replaces else m for m in config.members)
        return replace(config, generation=Generation(config.generation + 1), members=six, joining=None)

    def given_up(self) -> VolumeConfig:
        """Give the configuration of the old six, without who is joining."""
        return replace(self.config, generation=Generation(self.config.generation + 1), joining=None)

    def known(self, number: int) -> Member:
        """Give the member of that number, also one that is not in the configuration any more."""
        return self._known[number]

    async def status(self, number: int) -> StorageStatus:
        """Ask one node over its control port."""
        url = f"https://{self.address(number + 1)}:{names.CONTROL_PORT}{names.STATUS}"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=self._operator()) as reply:
            return StorageStatus.from_json(await reply.read())

    async def answering(self, number: int) -> StorageStatus:
        """Wait until the node answers; TimeoutError with its log after START_DEADLINE_S."""
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                while True:
                    try:
                        return await self.status(number)
                    except aiohttp.ClientError:
                        if number in self.processes and self.processes[number].returncode is not None:
                            raise RuntimeError(f"storage node {number} ended:\n{self.log(number)}") from None
                        await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            raise TimeoutError(f"storage node {number} does not answer:\n{self.log(number)}") from error

    async def reaches(
        self, number: int, *, flush: int, epoch: int = 0, durable: int = 0, deadline_s: float = START_DEADLINE_S
    ) -> StorageStatus:
        """Wait until the node is current, has entered `epoch`, holds the log up to `flush` and D is `durable`."""
        status = await self.answering(number)
        try:
            async with asyncio.timeout(deadline_s):
                while not (
                    status.state is StorageState.CURRENT
                    and status.epoch >= epoch
                    and status.flush_lsn >= flush
                    and status.durable_lsn >= durable
                ):
                    await asyncio.sleep(_POLL_S)
                    status = await self.status(number)
        except TimeoutError as error:
            raise TimeoutError(f"storage node {number} is at {status}:\n{self.log(number)}") from error
        return status

    async def shows(self, number: int, wanted: Callable[[StorageStatus], bool]) -> StorageStatus:
        """Wait until the status of a node is as `wanted`; TimeoutError with its log after START_DEADLINE_S."""
        status = await self.answering(number)
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                while not wanted(status):
                    await asyncio.sleep(_POLL_S)
                    status = await self.status(number)
        except TimeoutError as error:
            raise TimeoutError(f"storage node {number} is at {status}:\n{self.log(number)}") from error
        return status

    async def ends(self, number: int) -> int:
        """Wait until the process of a node ends by itself and give its exit status."""
        async with asyncio.timeout(START_DEADLINE_S):
            return await self.processes[number].wait()

    def log(self, number: int) -> str:
        """Give what a node has logged so far."""
        path = self._log_path(number)
        return path.read_text() if path.exists() else ""

    def _operator(self) -> ssl.SSLContext:
        return self.tls(names.ROLE_OPERATOR).client

    def _member(self, number: int) -> Member:
        return Member(
            id=MemberId(secrets.token_hex(8)),
            name=f"{self.cluster}-storage-{number}",
            zone=f"zone-{'abc'[number % 3]}",
            address=f"{self.subnet}.{number + 1}:{names.LOG_PORT}",
        )

    def data(self, number: int) -> Path:
        """Give a node's data directory."""
        return self.directory / self._known[number].name

    def _log_path(self, number: int) -> Path:
        return self.directory / f"{self._known[number].name}.log"

    async def _spawn(self, number: int, *, format_disk: bool) -> None:
        member = self._known[number]
        self.data(number).mkdir(parents=True, exist_ok=True)
        environment = self.environment(
            names.ROLE_STORAGE,
            pod=member.name,
            ip=self.address(number + 1),
            zone=member.zone,
            data=self.data(number),
        )
        environment[names.ENV_MEMBER_ID] = member.id
        environment[names.ENV_FORMAT] = "true" if format_disk else "false"
        main = "borealis_engine.main.storage:main"
        self.processes[number] = await Program.start(main, environment=environment, output=self._log_path(number))

    async def _end(self, numbers: Iterable[int], how: signal.Signals) -> None:
        ending = [self.processes.pop(number) for number in numbers if number in self.processes]
        for process in ending:
            if process.returncode is None:
                process.send_signal(how)
        for process in ending:
            async with asyncio.timeout(START_DEADLINE_S):
                await process.wait()
