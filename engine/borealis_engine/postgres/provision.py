"""What the operator wants of roles and databases, and whether it holds on this writer.

The invariant: the digest in the status is of a specification that was made true in this reign; what has come in its
way since is in `fault` within `EVERY_S`, in words for people, or was mended. Extensions come after it, so that nothing
waits for one: `extensions` says of each, within `EXTENSIONS_EVERY_S`, whether it can be used.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

import psycopg

from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.postgres.database import apply_spec, keep_master
from borealis_engine.postgres.errors import ServerDied, SpecInvalid
from borealis_engine.postgres.extensions import ensure_extensions
from borealis_engine.postgres.sql import Door

log = logging.getLogger(__name__)
EVERY_S: Final = 5.0
EXTENSIONS_EVERY_S: Final = 60.0


class Provision:
    """One writer's; `end` with each reign."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.digest = ""
        self.fault = ""  # why the Secret does not let in, or a new one cannot be put into force
        self.extensions: Mapping[str, str] = {}  # why each cannot be used; empty if it can
        self._on_change = on_change
        self._applying = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    async def apply(self, door: Door, spec: DatabaseSpec, reigning: Callable[[], bool]) -> bool:
        """Make the specification true; False if the reign did not last. SpecInvalid says what PostgreSQL refuses."""
        async with self._applying:
            if not reigning():
                return False
            if self.digest == spec.digest:
                return True
            self._stop_watch()
            try:
                await apply_spec(door, spec)
            except SpecInvalid as error:
                self._tell(str(error))
                raise
            if not reigning():
                return False
            log.info("the database specification is true")
            self.digest, self.fault = spec.digest, ""
            self._on_change()
            self._watch = asyncio.create_task(self._keep(door, spec))
            return True

    def end(self) -> None:
        """Forget all: the reign is over."""
        self._stop_watch()
        self.digest, self.fault, self.extensions = "", "", {}

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _keep(self, door: Door, spec: DatabaseSpec) -> None:
        """Make extensions, and undo what locks the master user out, until cancelled."""
        verified, loop = "", asyncio.get_running_loop()
        made_at = -EXTENSIONS_EVERY_S
        while True:
            if loop.time() - made_at >= EXTENSIONS_EVERY_S:
                made_at = loop.time()
                await self._extend(door, spec)
            await asyncio.sleep(EVERY_S)
            try:
                async with self._applying:
                    before, verified = verified, await keep_master(door, spec, verified)
                if before and before != verified:
                    log.warning("the master user's password was changed by SQL; the Secret's is in force again")
                self._tell("")
            except SpecInvalid as error:
                self._tell(str(error))
            except (ServerDied, psycopg.Error) as error:
                log.warning("whether the master user can log in is not known: %s", error)

    async def _extend(self, door: Door, spec: DatabaseSpec) -> None:
        """Make what is missing of the extensions, and tell what came of it."""
        try:
            found = await ensure_extensions(door, spec)
        except (ServerDied, psycopg.Error) as error:
            log.warning("whether the extensions are there is not known: %s", error)
            return
        for place, why in found.items():
            if why and self.extensions.get(place) != why:
                log.warning("extension %s: %s", place, why)
        if found != self.extensions:
            self.extensions = found
            self._on_change()

    def _tell(self, fault: str) -> None:
        if fault != self.fault:
            self.fault = fault
            if fault:
                log.warning("%s", fault)
            self._on_change()
