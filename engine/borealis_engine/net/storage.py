"""A storage node as a process part: opens the disk, runs the shell behind the log port, tells its status."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from borealis_engine.contract.names import LOG_PORT
from borealis_engine.contract.status import StorageState, StorageStatus
from borealis_engine.contract.volume import MemberId, VolumeConfig
from borealis_engine.core.journal import EMPTY
from borealis_engine.core.node import Node
from borealis_engine.net.clock import StallFreeClock
from borealis_engine.net.control import Changes
from borealis_engine.net.meters import Meters
from borealis_engine.net.shell import Shell
from borealis_engine.net.tls import Tls
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.errors import DiskCorrupt, DiskFailed, DiskLost
from borealis_engine.store.member import Store, open_store

log = logging.getLogger(__name__)

WATCH_S = 0.05  # how often a change of the status is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """What a storage node is told when it starts."""

    name: str
    member: MemberId
    config: VolumeConfig
    data: Path
    allow_format: bool
    lease_s: float
    host: str
    port: int = LOG_PORT


class StorageNode:
    """A storage node with its disk opened, or the reason why that cannot be."""

    def __init__(self, settings: StorageSettings, tls: Tls) -> None:
        """Open the disk; DiskForeign if it is another member's. A lost or broken one makes a node that only reports."""
        self._settings = settings
        self._lost = False
        self.meters = Meters()
        store, unfit = self._open()
        config = newest(settings.config, store.recall_volume() if store else "")
        clock = StallFreeClock()
        node = Node(
            member=settings.member,
            config=config,
            durable=store.journal.state if store else EMPTY,
            images=store.images.extents if store else {},
            lease=settings.lease_s,
            now=clock.now(),
            unfit=unfit,
        )
        self.clock = clock
        self.node = node
        self.shell = Shell(node=node, store=store, tls=tls, clock=clock, meters=self.meters)
        self.meters.watch(self.status, lambda: self.clock.stalled)

    def _open(self) -> tuple[Store | None, str]:
        settings = self._settings
        try:
            settings.data.mkdir(parents=True, exist_ok=True)
            store = open_store(
                RealDisk(settings.data),
                member=settings.member,
                cluster_uid=settings.config.cluster_uid,
                allow_format=settings.allow_format,
            )
        except DiskLost as error:
            self._lost = True
            return None, str(error)
        except (DiskCorrupt, DiskFailed, OSError) as error:
            return None, f"{type(error).__name__}: {error}"
        state = store.journal.state
        log.info(
            "opened the disk: promised %d, log up to %d", state.promised, state.flush, extra={"epoch": state.epoch}
        )
        return store, ""

    @property
    def fit(self) -> bool:
        """Tell whether the node takes part."""
        return not self.node.unfit

    @property
    def state(self) -> StorageState:
        """Say what the node is now."""
        if self.node.retired:
            return StorageState.RETIRED
        if not self.fit:
            return StorageState.DISK_LOST if self._lost else StorageState.FAILED
        if not self.node.durable.history:
            return StorageState.EMPTY
        return StorageState.CATCHING_UP if self.node.catching_up else StorageState.CURRENT

    def status(self) -> StorageStatus:
        """Give what `/status` shows."""
        node, store, durable = self.node, self.shell.store, self.node.durable
        return StorageStatus(
            name=self._settings.name,
            member=self._settings.member,
            state=self.state,
            promised=durable.promised,
            epoch=durable.epoch,
            flush_lsn=durable.flush,
            durable_lsn=node.readable,
            log_start=durable.start,
            has_image=bool(node.images),
            generation=node.config.generation,
            revision=node.config.revision,
            bytes_used=store.bytes_used if store else 0,
            bytes_free=store.disk.free() if store else 0,
            message=node.unfit,
        )

    @asynccontextmanager
    async def running(self, changes: Changes) -> AsyncIterator[None]:
        """Listen on the log port until the block ends; `changes` hears when the status is another."""
        self.shell.start()
        self.shell.port.listen(self._settings.host, self._settings.port)
        watching = asyncio.create_task(self._watch(changes))
        try:
            yield
        finally:
            watching.cancel()
            await self.shell.aclose()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, changes: Changes) -> None:
        """Say that the status changed, its positions apart, which the streams' heartbeat carries."""
        before = None
        while True:
            durable, config = self.node.durable, self.node.config
            now = (self.state, durable.promised, durable.epoch, len(self.node.images), config.version)
            if now != before:
                changes.changed()
                before = now
            await asyncio.sleep(WATCH_S)


def newest(given: VolumeConfig, remembered: str) -> VolumeConfig:
    """Choose between the configuration that the pod was made with and the one on its disk."""
    if remembered:
        kept = VolumeConfig.from_json(remembered)
        if kept.cluster_uid == given.cluster_uid and kept.version > given.version:
            return kept
    return given
