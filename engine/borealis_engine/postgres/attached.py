"""One attachment: a data directory, its feed and its PostgreSQL, from laying out to discarding.

The invariant: one object, one directory, one start. Whatever ends, everything is stopped and the directory is gone.
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from borealis_engine.contract.names import ENV_DATA_DIR, ENV_RUN_DIR
from borealis_engine.contract.volume import Lsn
from borealis_engine.core.messages import History
from borealis_engine.postgres import directory
from borealis_engine.postgres.account import Account, make_private, own, own_name, require_reachable
from borealis_engine.postgres.binaries import Binaries
from borealis_engine.postgres.errors import AttachFailed, CommandFailed, PlaceUnusable, ServerDied
from borealis_engine.postgres.feed import Feed, System
from borealis_engine.postgres.image import Image
from borealis_engine.postgres.memory import shortage
from borealis_engine.postgres.process import STOP_GRACE_S, Server, end_all_in
from borealis_engine.postgres.replication import Slots
from borealis_engine.postgres.servertls import install
from borealis_engine.postgres.settings import FEED_PORT, Configuration, Place, command_line
from borealis_engine.postgres.source import LogSource
from borealis_engine.postgres.sql import Door, persist, reload, session

START_S: Final = 60.0
POLL_S: Final = 0.02
SOCKET_PATH_LIMIT: Final = 107  # sun_path of sockaddr_un, without the final zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where an instance lives on this machine, and with what."""

    data: Path  # BOREALIS_DATA_DIR: each attachment makes a directory of its own in it
    run: Path  # BOREALIS_RUN_DIR: unix sockets
    place: Place
    binaries: Binaries
    account: Account | None
    server_tls: Path | None = None  # BOREALIS_SERVER_TLS_DIR: the certificate for clients

    def prepare(self) -> None:
        """Check and make the directories; end and remove what an earlier process of this instance left."""
        longest = self.run / f".s.PGSQL.{FEED_PORT}.lock"
        if len(os.fsencode(longest)) > SOCKET_PATH_LIMIT:
            raise PlaceUnusable(f"{ENV_RUN_DIR}={self.run} is too long for a unix socket; choose a shorter path")
        own_name()
        self.data.mkdir(parents=True, exist_ok=True)
        directory.spread(self.data)
        end_all_in(self.data)
        for old in self.data.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        make_private(self.run, self.account)
        self.clear_sockets()
        require_reachable(self.data / "any", self.account, ENV_DATA_DIR)
        require_reachable(self.run / "any", self.account, ENV_RUN_DIR)

    def clear_sockets(self) -> None:
        """Remove sockets and lock files of a server that was killed, whose process ids others may bear by now."""
        for socket in self.run.glob(".s.PGSQL.*"):
            socket.unlink(missing_ok=True)

    def fresh(self, kind: str = "pg") -> Path:
        """Give a directory that nothing ever ran on."""
        return self.data / f"{kind}-{secrets.token_hex(4)}"

    @property
    def door(self) -> Door:
        """Give the way to PostgreSQL's private socket."""
        return Door(sockets=str(self.run), port=self.place.port, major=self.binaries.major)


class Attached:
    """A PostgreSQL that follows the volume until it is stopped or promoted."""

    def __init__(
        self, site: Site, image: Image, source: LogSource, *, history: History, durable: Lsn,
        configuration: Configuration | None = None,
    ) -> None:  # fmt: skip
        description = image.head.description
        system = System(
            identifier=description.system_identifier,
            version=site.binaries.version,
            segment_size=description.segment_size,
        )
        self.site, self.image = site, image
        self.configuration = configuration or Configuration(place=site.place)
        self.data = site.fresh()
        self.feed = Feed(source, system, history=history, durable=durable)
        self.slots = Slots(site.door, lambda: self.configuration)
        self._watch: asyncio.Task[None] | None = None  # over the slots
        self._server: Server | None = None
        self._stack = AsyncExitStack()

    @property
    def server(self) -> Server:
        """Give the running PostgreSQL."""
        if self._server is None:
            raise ServerDied("PostgreSQL was not started")
        return self._server

    async def start(
        self, on_text: Callable[[str], object], on_given_up: Callable[[], object] = lambda: None
    ) -> None:  # fmt: skip
        """Lay out, feed, start, and wait until PostgreSQL answers; ServerDied if it does not.

        What PostgreSQL logs goes to the two, as Server.start says.
        """
        await asyncio.to_thread(self._lay_out)
        if not directory.startable(self.data):
            raise AttachFailed(f"{self.data} is no standby's directory; it would open read-write")
        site, arguments = self.site, command_line(self.site.binaries.major)
        if self.configuration.parameters:
            await asyncio.to_thread(self._require_memory, arguments)
        await self._stack.enter_async_context(self.feed.serve(site.run))
        self._server = Server.start(
            site.binaries.path("postgres"), self.data, site.account, on_text, on_given_up, arguments=arguments
        )
        try:
            async with asyncio.timeout(START_S):
                await self._answering()
        except TimeoutError as error:
            raise ServerDied(f"PostgreSQL does not answer after {START_S} s") from error
        self._watch = asyncio.create_task(self.slots.keep())

    async def adopt(self, configuration: Configuration) -> None:
        """Write the configuration anew and return once it is in force, but for what a restart must change."""
        self.configuration = configuration
        try:
            directory.configure(self.data, configuration, account=self.site.account)
        except OSError as error:
            raise ServerDied(f"the configuration cannot be written: {error}") from error
        await persist(self.site.door, reload)

    async def leave(self, patience: float) -> None:
        """Let PostgreSQL end its sessions, each with its own message, for at most `patience` seconds."""
        if self._server is not None:
            await self._server.leave(patience)

    async def halt(self, grace: float = STOP_GRACE_S) -> None:
        """Stop PostgreSQL at once, by SIGKILL if it still runs after `grace` seconds. Idempotent."""
        if self._server is not None:
            await self._server.stop(grace)

    async def stop(self) -> None:
        """Stop PostgreSQL at once, close the feed, remove the directory. Idempotent."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.halt()
        await self._stack.aclose()
        await asyncio.to_thread(directory.discard, self.data)

    def _require_memory(self, arguments: Sequence[str]) -> None:
        """ServerDied if the user's parameters ask for more than there is: to find that out by a start ends the pod."""
        site = self.site
        command = [site.binaries.path("postgres"), "-D", str(self.data), *arguments]
        try:
            lacking = shortage(command, site.account, data=self.data, buffers=site.place.shared_buffers)
        except CommandFailed as error:
            raise ServerDied(str(error)) from error
        if lacking:
            raise ServerDied(lacking)

    def _lay_out(self) -> None:
        directory.lay_out(
            self.data,
            image=self.image,
            history=self.feed.history,
            durable=self.feed.durable,
            configuration=self.configuration,
            binaries=self.site.binaries,
            account=self.site.account,
        )
        if install(self.site.server_tls, self.data):
            self.configuration = replace(self.configuration, tls=True)
            directory.configure(self.data, self.configuration, account=None)
        own(self.data, self.site.account)

    async def _answering(self) -> None:
        while True:
            if not self.server.alive:
                raise ServerDied(f"PostgreSQL ended with {self.server.died.result()} at its start")
            with suppress(ServerDied):
                async with session(self.site.door):
                    return
            await asyncio.sleep(POLL_S)
