"""A storage node as a process part: opens the disk, runs the shell behind the log port, tells its status."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from borealis_engine.contract.names import LOG_PORT
from borealis_engine.contract.status import NO_ROOM, Claim, StorageState, StorageStatus
from borealis_engine.contract.volume import MemberId, VolumeConfig, parse
from borealis_engine.core.journal import EMPTY
from borealis_engine.core.node import Node
from borealis_engine.core.room import LEAST_STEP
from borealis_engine.net.background import PACE, Pace
from borealis_engine.net.clock import StallFreeClock
from borealis_engine.net.control import Changes
from borealis_engine.net.healing import Healing
from borealis_engine.net.meters import Meters
from borealis_engine.net.rescue import Rescue
from borealis_engine.net.shell import Shell
from borealis_engine.net.tls import Tls
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.errors import DiskCorrupt, DiskFailed, DiskFull, DiskLost, Exhausted
from borealis_engine.store.member import VOLUME, Store, open_store

log = logging.getLogger(__name__)

WATCH_S = 0.05  # how often a change of the status is looked for
RENEWAL_S = 10.0  # that a process lives at least, before a fresh one tries it
ROOM = 32 << 20  # bytes that have to be free before a disk that was full is opened anew


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
    room: int = ROOM
    pace: Pace = PACE


class StorageNode:
    """A storage node with its disk opened, or the reason why that cannot be."""

    def __init__(self, settings: StorageSettings, tls: Tls) -> None:
        """Open the disk; DiskForeign if it is another member's. A lost or broken one makes a node that only reports."""
        self._settings = settings
        self._lost = False
        self._began = time.monotonic()
        self._failure: Exception | None = None  # why the disk could not be opened
        self._disk = RealDisk(settings.data)
        self.renewal = asyncio.Event()  # set when the process should end, and open the disk anew in the next one
        self.meters = Meters()
        self._forgetful: Store | None = None  # whole but for the configuration, which the operator has to tell anew
        store, unfit = self._open()
        config = settings.config
        if store is not None:
            try:
                config = recall(store, config)
            except DiskCorrupt as error:
                unfit = f"{error}: it takes part in nothing until the operator has told it the configuration"
                store, self._forgetful = None, store
        clock = StallFreeClock()
        node = Node(
            member=settings.member,
            config=config,
            durable=held.journal.state if (held := store or self._forgetful) else EMPTY,
            images=store.images.extents if store else {},
            lease=settings.lease_s,
            now=clock.now(),
            unfit=unfit,
        )
        self.clock = clock
        self.node = node
        self.shell = Shell(node=node, store=store, tls=tls, clock=clock, meters=self.meters)
        self.healing = self._healing()
        self.meters.watch(self.status, lambda: self.clock.stalled)

    def _open(self) -> tuple[Store | None, str]:
        settings = self._settings
        try:
            settings.data.mkdir(parents=True, exist_ok=True)
            store = self._open_store(allow_format=settings.allow_format)
        except DiskLost as error:
            self._lost = True
            return None, str(error)
        except (DiskCorrupt, DiskFailed, Exhausted, OSError) as error:
            self._failure = error
            return None, f"{type(error).__name__}: {error}"
        if store.mended:
            log.warning("wrote the identity anew, by what configuration and journal say: %s", store.mended)
        state = store.journal.state
        log.info(
            "opened the disk: promised %d, log up to %d", state.promised, state.flush, extra={"epoch": state.epoch}
        )
        return store, ""

    def _open_store(self, *, allow_format: bool) -> Store:
        settings = self._settings
        uid = settings.config.cluster_uid
        return open_store(self._disk, member=settings.member, cluster_uid=uid, allow_format=allow_format)

    def _healing(self) -> Healing | Rescue | None:
        """Choose what looks after the disk: a lost one, and one that may only be full, are left alone."""
        if self.shell.store is not None:
            return Healing(self.shell, self.shell.store, pace=self._settings.pace)
        if self._failure is None or isinstance(self._failure, (DiskFull, Exhausted)):
            return None
        return Rescue(self.shell, self._disk, reopen=self._try_to_open, pace=self._settings.pace)

    def _try_to_open(self) -> None:
        self._open_store(allow_format=False).journal.close()

    def configure(self, config: VolumeConfig) -> VolumeConfig:
        """Adopt what the operator says, durably; give the configuration in force."""
        if self._forgetful is None:
            return self.shell.configure(config)
        given = self._settings.config
        if config.cluster_uid != given.cluster_uid or config.version < given.version:
            return given
        self._forgetful.remember_volume(config.to_json())
        log.info("keeping the configuration that the operator told, and beginning anew with it")
        self.renewal.set()
        return config

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

    def _shortage(self) -> str:
        """Say that plain log is refused, if it is."""
        held = self.node.durable
        return NO_ROOM if held.history and self.node.room.upto - held.flush < LEAST_STEP else ""

    def hold_to(self, claim: Claim) -> None:
        """Take no more than the claim, from now on."""
        self.shell.space.claim = claim.size

    def status(self) -> StorageStatus:
        """Give what `/status` shows."""
        with self.shell.lock:  # which brings what went the short way meanwhile
            node, store, durable, healing = self.node, self.shell.store, self.node.durable, self.healing
        return StorageStatus(
            name=self._settings.name,
            member=self._settings.member,
            state=self.state,
            promised=durable.promised,
            epoch=durable.epoch,
            flush_lsn=durable.flush,
            durable_lsn=node.readable,
            log_start=durable.start,
            has_image=node.has_image,
            generation=0 if self._forgetful else node.config.generation,
            revision=0 if self._forgetful else node.config.revision,
            bytes_used=store.bytes_used if store else 0,
            bytes_free=self.shell.space.free,
            claim=self.shell.space.claim,
            scrubbed_at=healing.scrubbed_at if healing else 0.0,
            damaged=len(healing.damaged) if healing else 0,
            repaired=healing.repaired if healing else 0,
            message=node.unfit or "; ".join(filter(None, self._troubles())),
        )

    def _troubles(self) -> tuple[str, ...]:
        """Say what ails a node that takes part; empty where nothing does."""
        store, healing = self.shell.store, self.healing
        strained = store.journal.strained if store else ""
        return self.node.objection, healing.message if healing else "", strained, self._shortage()

    @asynccontextmanager
    async def running(self, changes: Changes) -> AsyncIterator[None]:
        """Listen on the log port until the block ends; `changes` hears when the status is another."""
        self.shell.start()
        self.shell.port.listen(self._settings.host, self._settings.port)
        if self.healing is not None:
            self.healing.start()
        watching = asyncio.create_task(self._watch(changes))
        try:
            yield
        finally:
            watching.cancel()
            if self.healing is not None:
                await asyncio.get_running_loop().run_in_executor(None, self.healing.stop)
            await self.shell.aclose()
            await asyncio.gather(watching, return_exceptions=True)

    def _worth_another_start(self) -> bool:
        """Tell whether what took the node out of service is over: it was full and has room, or damaged and is mended.

        What was not the disk's fault, a fresh process is rid of. A write or a sync that failed for another reason is
        never over by itself: such a disk is somebody's to judge.
        """
        failure = self.shell.failure or self._failure
        if isinstance(failure, DiskFull):
            return self._disk.free() >= self._settings.room
        if failure is not None and not isinstance(failure, (DiskFailed, DiskCorrupt, OSError)):
            return time.monotonic() - self._began >= RENEWAL_S
        return self.healing is not None and self.healing.healed

    async def _watch(self, changes: Changes) -> None:
        """Say that the status changed, its positions apart, which the streams' heartbeat carries."""
        before = None
        while True:
            durable, config = self.node.durable, self.node.config
            damaged = len(self.healing.damaged) if self.healing else 0
            told = (self._shortage(), self.shell.space.claim)
            now = (self.state, durable.promised, durable.epoch, self.node.has_image, config.version, damaged, told)
            if self.node.unfit and not self.renewal.is_set() and self._worth_another_start():
                log.warning("beginning anew: %s is over", self.node.unfit)
                self.renewal.set()
            if now != before:
                changes.changed()
                before = now
            await asyncio.sleep(WATCH_S)


def recall(store: Store, given: VolumeConfig) -> VolumeConfig:
    """Give the configuration on the disk, or the one that the pod was made with if that is newer.

    DiskCorrupt if the disk had one that cannot be believed: the one given may be older than what this member acted by.
    """
    text = store.recall_volume()
    if not text:
        if store.journal.state != EMPTY:
            raise DiskCorrupt(f"{VOLUME} is missing")
        store.remember_volume(given.to_json())
        return given
    try:
        kept = parse(text)
    except ValueError as error:
        raise DiskCorrupt(f"{VOLUME} is unreadable: {error}") from error
    return kept if kept.cluster_uid == given.cluster_uid and kept.version > given.version else given
