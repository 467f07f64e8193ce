"""A storage node whose disk another process holds: it says so, takes part in nothing, and begins once the lock is free.

That is how a pod begins whose predecessor was deleted by force and lives on, or that shares a claim with another one.
"""

import asyncio
import logging
import os
from contextlib import AsyncExitStack

from borealis_engine.contract.status import StorageState, StorageStatus
from borealis_engine.net.control import Changes, Surface, serve_control, serve_probes
from borealis_engine.net.meters import Meters
from borealis_engine.net.storage import StorageSettings
from borealis_engine.net.tls import Tls
from borealis_engine.store.errors import disk_failed
from borealis_engine.store.lock import DiskInUse, DiskLock

log = logging.getLogger(__name__)

RETRY_S = 0.2


class Standby:
    """Waits for the lock of a disk, and shows meanwhile who holds it."""

    def __init__(self, settings: StorageSettings, lock: DiskLock) -> None:
        self._settings, self._lock = settings, lock
        self._state, self._message = StorageState.DISK_IN_USE, ""

    def try_lock(self) -> bool:
        """Take the lock if it is free."""
        settings = self._settings
        try:
            self._lock.take(f"{settings.name} at {settings.host}, process {os.getpid()}")
        except DiskInUse as error:
            self._state = StorageState.DISK_IN_USE
            self._say(f"another process uses this disk: {error}; this one begins when that one has ended")
        except OSError as error:
            self._state = StorageState.FAILED
            self._say(str(disk_failed("locking the disk", error)))
        else:
            return True
        return False

    def _say(self, message: str) -> None:
        if message != self._message:
            log.warning("%s", message)
        self._message = message

    def status(self) -> StorageStatus:
        """Give what `/status` shows."""
        settings = self._settings
        return StorageStatus(
            name=settings.name,
            member=settings.member,
            state=self._state,
            generation=settings.config.generation,
            revision=settings.config.revision,
            message=self._message,
        )

    async def wait(self, stop: asyncio.Event, tls: Tls) -> bool:
        """Serve the status until the lock is taken; False if `stop` came first."""
        if self.try_lock():
            return True
        meters, changes = Meters(), Changes()
        meters.watch(self.status, lambda: 0.0)
        surface = Surface(
            status=self.status,
            configure=lambda config: self._settings.config,
            configuration=lambda: self._settings.config,
            ready=lambda: False,
            metrics=meters.registry,
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serve_control(surface, changes, tls, host=self._settings.host))
            await stack.enter_async_context(serve_probes(surface, host=self._settings.host))
            while not stop.is_set():
                if self.try_lock():
                    log.info("the disk is free now")
                    return True
                try:
                    async with asyncio.timeout(RETRY_S):
                        await stop.wait()
                except TimeoutError:
                    changes.changed()
        return False
