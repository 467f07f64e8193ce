"""The user's parameters on this instance: vetted, put into force, and what became of each.

The invariant: no parameter keeps a database from running, and a bad one costs itself alone. What PostgreSQL does
not take, or does not start with on trial, is left out and told of. If it does not start all the same, it starts without
any.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeAlias

from borealis_engine.contract.settings import Settings
from borealis_engine.postgres.attached import Attached, Site
from borealis_engine.postgres.catalogue import Catalogue, Vetted
from borealis_engine.postgres.errors import CommandFailed, ServerDied
from borealis_engine.postgres.settings import Configuration
from borealis_engine.postgres.sql import persist, rows, session
from borealis_engine.postgres.trial import find_culprits

log = logging.getLogger(__name__)
Make: TypeAlias = Callable[[Configuration], Awaitable[Attached]]
LAST_LINES: Final = 3  # of PostgreSQL's log that explain a failed start
SESSION_LIBRARIES: Final = ("session_preload_libraries", "local_preload_libraries")
LONGEST: Final = 400  # characters of a reason: it travels with every status
_PENDING: Final = """
    select name from pg_settings s where pending_restart and (
        source = 'configuration file'
        or exists (select from pg_file_settings f where lower(f.name) = lower(s.name))
    ) order by name
"""  # PostgreSQL keeps the flag of a parameter that came and went between two starts
_FAULTS: Final = "select name, error from pg_file_settings where error is not null and name is not null"


def parse_settings(text: str | bytes) -> Settings:
    """Read Settings; ValueError says what is wrong with them."""
    try:
        settings = Settings.from_json(text)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"not an object with the fields of Settings: {error}") from error
    parameters = settings.parameters
    if not isinstance(parameters, dict) or not all(isinstance(each, str) for each in parameters.values()):
        raise ValueError("parameters must map names to strings")
    if not isinstance(settings.read_only, bool) or not isinstance(settings.digest, str):
        raise ValueError("read_only must be true or false, digest a string")
    return settings


class Tuning:
    """What the user wants, and what of it is in force here."""

    def __init__(self, site: Site, wanted: Settings) -> None:
        self.wanted = wanted
        self.full = False  # the storage nodes have no room: new transactions may not write, whatever is wanted
        self.in_force: Settings | None = None
        self.refused: Mapping[str, str] = {}
        self.pending: tuple[str, ...] = ()
        self._site = site
        self._catalogue = Catalogue(site)
        self._asked: tuple[Mapping[str, str], Vetted] = ({}, Vetted())  # what was vetted last, and how that went
        self._tried = False  # whether that was on trial as well
        self._good: Mapping[str, str] = {}  # with which a PostgreSQL has started here
        self._lock = asyncio.Lock()  # of what is in force
        self._vetting = asyncio.Lock()
        self._lines: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def digest(self) -> str:
        """Give the digest of what is in force."""
        return self.in_force.digest if self.in_force else ""

    def note(self, text: str) -> None:
        """Remember the last lines of PostgreSQL's log; `text` is some more of it."""
        lines = text.rsplit("\n", 2 * LAST_LINES)[-2 * LAST_LINES :]
        self._lines.extend(line for line in lines if not line.startswith("LOCATION:"))

    def forget(self) -> None:
        """Say that no PostgreSQL runs with them any more."""
        self.in_force, self.refused, self.pending, self.full = None, {}, (), False

    async def start(self, make: Make) -> Attached:
        """Start a PostgreSQL with the parameters, or without them if it does not start otherwise.

        `make` starts one, and leaves nothing behind if it raises.
        """
        async with self._lock:
            settings = self.wanted
            vetted = await self._vet(settings)
            configuration = Configuration(
                place=self._site.place, parameters=vetted.accepted, read_only=settings.read_only or self.full
            )
            self._lines.clear()
            try:
                attached = await make(configuration)
            except ServerDied as error:
                if not vetted.accepted:
                    raise
                why = f"PostgreSQL did not start with the parameters: {'; '.join(self._lines) or error}"
                log.error("%s", why)
                attached, vetted = await self._start_with_less(make, configuration, settings, why)
            self._good = vetted.accepted
            await self._settle(settings, await self._spare_sessions(attached, vetted))
        return attached

    async def _start_with_less(
        self, make: Make, configuration: Configuration, settings: Settings, why: str
    ) -> tuple[Attached, Vetted]:
        """Start once more, without those that a trial finds to be wrong; without any if that fails, too."""
        self._good, self._tried = {}, False  # they are not any more, or the trial beside an instance did not show it
        tried = await self._vet(settings, on_trial=True, alone=True)
        if tried.accepted:
            with suppress(ServerDied):
                return await make(replace(configuration, parameters=tried.accepted)), tried
        attached = await make(replace(configuration, parameters={}))
        return attached, Vetted(refused=dict.fromkeys(tried.accepted, why) | dict(tried.refused))

    async def apply(self, attached: Attached) -> None:
        """Put what is wanted into force on a running PostgreSQL; ServerDied if it does not answer.

        What is new is tried by a start before, which takes seconds.
        """
        settings = self.wanted
        if settings == self.in_force:
            return
        vetted = await self._vet(settings, on_trial=True)  # without the lock: `restrict` does not wait for it
        async with self._lock:
            if not attached.server.alive:
                raise ServerDied("PostgreSQL has ended; the next one starts with the parameters")
            read_only = settings.read_only or self.full
            changed = replace(attached.configuration, parameters=vetted.accepted, read_only=read_only)
            await attached.adopt(changed)
            await self._settle(settings, await self._spare_sessions(attached, vetted))

    async def restrict(self, attached: Attached, full: bool) -> None:
        """Have new transactions write no more, for the storage nodes are `full`; or write again, if users may."""
        async with self._lock:
            self.full = full
            read_only = full or (self.in_force or self.wanted).read_only
            if attached.configuration.read_only != read_only:
                await attached.adopt(replace(attached.configuration, read_only=read_only))

    async def _vet(self, settings: Settings, *, on_trial: bool = False, alone: bool = False) -> Vetted:
        """Part the parameters, once: by PostgreSQL's programs, and `on_trial` by a start if none has shown that."""
        async with self._vetting:
            if self._asked[0] != settings.parameters:
                self._asked = (settings.parameters, await asyncio.to_thread(self._catalogue.vet, settings.parameters))
                self._tried = False
            vetted = self._asked[1]
            if on_trial and not self._tried:
                if vetted.accepted and vetted.accepted != self._good:
                    vetted = await self._try(vetted, alone=alone)
                self._asked, self._tried = (settings.parameters, vetted), True
            return vetted

    async def _try(self, vetted: Vetted, *, alone: bool) -> Vetted:
        proven_first = dict(sorted(vetted.accepted.items(), key=lambda each: self._good.get(each[0]) != each[1]))
        try:
            culprits = await asyncio.to_thread(find_culprits, self._site, proven_first, alone=alone)
        except (CommandFailed, OSError) as error:
            log.warning("the parameters are not tried by a start: %s", error)
            return vetted
        accepted = {name: value for name, value in vetted.accepted.items() if name not in culprits}
        return Vetted(accepted=accepted, refused={**vetted.refused, **culprits})

    async def _spare_sessions(self, attached: Attached, vetted: Vetted) -> Vetted:
        """Take libraries back that no session can load: with them nobody could connect."""
        names = [name for name in SESSION_LIBRARIES if name in vetted.accepted]
        if not names:
            return vetted
        try:
            async with session(replace(self._site.door, plain=True)):
                return vetted
        except ServerDied as error:
            why = str(error).rpartition("FATAL: ")[2].strip()
        accepted = {name: value for name, value in vetted.accepted.items() if name not in names}
        await attached.adopt(replace(attached.configuration, parameters=accepted))
        return Vetted(accepted=accepted, refused={**vetted.refused, **dict.fromkeys(names, why)})

    async def _settle(self, settings: Settings, vetted: Vetted) -> None:
        """Learn what became of each parameter."""
        pending = await persist(self._site.door, lambda connection: rows(connection, _PENDING))
        self.pending = tuple(str(row[0]).lower() for row in pending)
        found = await persist(self._site.door, lambda connection: rows(connection, _FAULTS))
        faults = {str(name): str(error) for name, error in found}
        late = {n: why for n, why in faults.items() if n in vetted.accepted and n not in self.pending}
        self.refused = {name: why[:LONGEST] for name, why in {**vetted.refused, **late}.items()}
        self.in_force = settings
        log.info("parameters in force: %d, refused: %d, waiting for a restart: %d",
                 len(vetted.accepted) - len(late), len(self.refused), len(self.pending))  # fmt: skip
        for name, why in self.refused.items():
            log.warning("parameter %s is refused: %s", name, why)
