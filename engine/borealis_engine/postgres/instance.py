"""The lives of an instance, one after the other: wait for a volume, attach, follow, be promoted, reign, end.

The invariants: a role is reported only once it is true (`writer` after the first commit that a quorum holds); whatever
goes wrong after `pg_promote` ends the life; at its end PostgreSQL is stopped before the epoch is given up, and its
directory is gone before the next life begins.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec, InstanceStatus, Role
from borealis_engine.contract.volume import Lsn, VolumeConfig, format_lsn
from borealis_engine.core.journal import NOBODY
from borealis_engine.core.messages import History
from borealis_engine.core.slowness import Standing, slow
from borealis_engine.net.members import Members
from borealis_engine.net.tls import Tls
from borealis_engine.postgres import accession, timelines
from borealis_engine.postgres.attached import Attached, Site
from borealis_engine.postgres.census import keep_counting
from borealis_engine.postgres.errors import Cause, PostgresError, PromotionFailed, ReignEnded, ServerDied
from borealis_engine.postgres.following import Following
from borealis_engine.postgres.image import SEGMENT_MIB, Image, make_image, open_image
from borealis_engine.postgres.ownership import Ownership
from borealis_engine.postgres.process import choose_grace
from borealis_engine.postgres.promotion import stay_standby
from borealis_engine.postgres.provision import Provision
from borealis_engine.postgres.room import RoomKeeper
from borealis_engine.postgres.settings import MIB, Configuration
from borealis_engine.postgres.source import Source
from borealis_engine.postgres.sql import Session, persist
from borealis_engine.postgres.tally import Tally
from borealis_engine.postgres.tuning import Tuning

log = logging.getLogger(__name__)
server_log = logging.getLogger("postgres")
OBSERVE_S: Final = 0.2
DRAIN_S: Final = 2.0  # a reader serves on after it was asked to stop, until nobody is sent to it any more
LINGER_S: Final = 2.0  # a writer that has stopped refuses connections: an address that is gone swallows them
POLITE_S: Final = 5.0  # then its PostgreSQL has time to end its sessions
AGAIN_S: Final = 0.1  # before the next life; twice as much after each that served nobody
VAIN: Final = 6  # so many of those in a row end the process: a fresh one may do better, and its restarts are seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this instance is, and how it is known to the volume."""

    name: str
    zone: str
    lease: float  # seconds
    tls: Tls


class Instance:
    """One instance; `run` is all of its lives."""

    def __init__(
        self, site: Site, identity: Identity, members: Members, on_change: Callable[[], None],
        settings: Settings | None = None,
    ) -> None:  # fmt: skip
        self._site, self._identity, self._members, self._on_change = site, identity, members, on_change
        self._source = Source(members, zone=identity.zone)
        self._role, self._ready, self._message = Role.STARTING, False, ""
        self._served = self._leaving = False
        self._following = Following()
        self._tuning = Tuning(site, settings or Settings())
        self.tally = Tally()
        self._census: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None  # of the room on the storage nodes
        self._full = ""
        self._wanted = asyncio.Event()  # the writer's role is
        self._provision = Provision(on_change)
        self._given_up = asyncio.Event()  # a commit gave up its wait for the volume
        self._attached: Attached | None = None
        self._ownership: Ownership | None = None
        self._making: asyncio.Task[Image] | None = None

    # --- what is asked of it ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether clients should be sent here."""
        return self._ready and not self._leaving

    @property
    def where(self) -> tuple[int, Lsn]:
        """Give the epoch owned or followed, and D as known here."""
        feed, owner = self._attached and self._attached.feed, self._ownership
        epoch = owner.epoch if owner else timelines.newest(feed.named) if feed else 0
        return epoch, max(feed.durable if feed else Lsn(0), owner.durable if owner else Lsn(0))

    @property
    def status(self) -> InstanceStatus:
        """Give what the control server shows."""
        epoch, durable = self.where
        reigning, seen = self._role is Role.WRITER, self._following
        return InstanceStatus(
            name=self._identity.name,
            role=self._role,
            ready=self.ready,
            epoch=epoch,
            receive_lsn=durable if reigning else seen.progress.receive,
            replay_lsn=durable if reigning else seen.progress.replay,
            durable_lsn=durable,
            lag_seconds=None if reigning or seen.lag_seconds is None else round(seen.lag_seconds, 3),
            generation=self._members.config.generation,
            revision=self._members.config.revision,
            pg_version=self._site.binaries.version,
            database=self._provision.digest,
            access=self._provision.fault,
            extensions=self._provision.extensions,
            settings=self._tuning.digest,
            refused=self._tuning.refused,
            pending_restart=self._tuning.pending,
            tls=self._attached is not None and self._attached.configuration.tls,
            slow=slow(self.standings),
            full=self._full,
            message=self._message,
        )

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Give how the members do, if this is the writer."""
        return self._ownership.standings if self._ownership is not None and self._role is Role.WRITER else ()

    def want_promotion(self) -> bool:
        """Ask for the writer's role; False if this instance is about to end."""
        if self._leaving or self._role is Role.STOPPED:
            return False
        if self._role is not Role.WRITER:
            self._wanted.set()
        return True

    def want_resignation(self) -> None:
        """Ask the writer or candidate to give up: a writer ends, a candidate becomes a reader again."""
        self._wanted.clear()
        if self._ownership is not None:
            self._ownership.end("asked to resign", Cause.RESIGNED)

    def configure(self, config: VolumeConfig) -> VolumeConfig:
        """Keep the higher configuration and give the one in force."""
        kept = self._members.configure(config)
        if self._ownership is not None:
            self._ownership.configure(kept)
        return kept

    async def apply(self, spec: DatabaseSpec) -> bool:
        """Make the database specification true; False unless this is the writer."""
        reign = self._ownership
        return await self._provision.apply(
            self._site.door, spec, lambda: self._role is Role.WRITER and self._ownership is reign
        )

    async def tune(self, settings: Settings) -> bool:
        """Take the user's parameters; True once they are in force, False if that waits for PostgreSQL to come up."""
        self._tuning.wanted = settings
        if self._attached is None or self._tuning.in_force is None:
            return False
        await self._tuning.apply(self._attached)
        self._on_change()
        return True

    # --- its lives --------------------------------------------------------------------------------------------

    async def run(self, stopping: asyncio.Event) -> bool:
        """Live until `stopping` is set (gives True) or a fresh process is needed (False). Leaves nothing behind."""
        vain = 0
        while True:
            expected = await self._live_once(stopping)
            vain = 0 if self._served else vain + 1
            if not stopping.is_set() and expected and vain < VAIN:
                with suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S * 2**vain):
                        await stopping.wait()
            if stopping.is_set() or not expected or vain >= VAIN:
                return stopping.is_set()

    async def _live_once(self, stopping: asyncio.Event) -> bool:
        """Live one life; False if it ended by surprise."""
        self._served = False
        life, stop = asyncio.create_task(self._live()), asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({life, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not life.done():
                await self._drain(life)
        finally:
            error = life.exception() if life.done() and not life.cancelled() else None
            expected = error is None or isinstance(error, PostgresError)
            if not expected:
                log.error("unexpected end", exc_info=error)
            life.cancel()
            stop.cancel()
            await asyncio.gather(life, stop, return_exceptions=True)
            cause = getattr(error, "cause", Cause.OTHER) if error else Cause.STOPPED
            wrote = self._role is Role.WRITER
            await self._end(str(error) if error else "stopping", cause)
        if wrote and stopping.is_set():
            await asyncio.sleep(LINGER_S)
        return expected

    async def _drain(self, life: "asyncio.Task[None]") -> None:
        """Serve a reader's clients until no new ones come, then tell them; a writer's successor waits for its end."""
        if self._role is not Role.READER or self._attached is None:
            return
        self._leaving = True
        log.info("draining")
        self._on_change()
        await asyncio.wait({life}, timeout=DRAIN_S)
        if not life.done() and self._role is Role.READER:
            await self._attached.leave(POLITE_S)

    async def _live(self) -> None:
        while True:
            if self._attached is None:
                history, durable = await self._find_volume()
                if history:
                    await self._attach(history, durable)
            if self._wanted.is_set() and await self._become_writer():
                break
            if self._attached is not None:
                await self._follow(self._attached)
        assert self._ownership is not None
        await self._ownership.ended

    async def _find_volume(self) -> tuple[History, Lsn]:
        """Wait for a volume, or for the wish that one be created here (then the history is empty)."""
        self._become(Role.STARTING, self._message or "the volume has no image yet")
        while True:
            history, durable = await self._source.look()
            if history or self._wanted.is_set():
                return history, durable
            await self._pause()

    async def _attach(self, history: History, durable: Lsn) -> Attached:
        self._become(Role.ATTACHING, f"from image {history[0].image[:12]} and the log up to {format_lsn(durable)}")
        began = time.monotonic()
        image = await self._fetch(history[0].image)

        async def start(configuration: Configuration) -> Attached:
            return await self._start(image, history, durable, configuration)

        attached = await self._tuning.start(start)
        await self._tuning.apply(attached)  # what came meanwhile
        log.info("attached in %.2f s", time.monotonic() - began)
        self.tally.attachments += 1
        self._census = asyncio.create_task(keep_counting(self._site.door, self.tally))
        return attached

    async def _start(self, image: Image, history: History, durable: Lsn, configuration: Configuration) -> Attached:
        self._site.clear_sockets()
        attached = self._attached = Attached(
            self._site, image, self._source, history=history, durable=durable, configuration=configuration
        )
        loop = asyncio.get_running_loop()
        try:
            await attached.start(self._on_log, lambda: loop.call_soon_threadsafe(self._given_up.set))
        except ServerDied:
            await attached.stop()
            self._attached = None
            raise
        return attached

    def _on_log(self, text: str) -> None:
        """Pass on what PostgreSQL logs; on a thread of its own."""
        server_log.info("%s", text)
        self._tuning.note(text)

    async def _fetch(self, digest: str) -> Image:
        made = self._ownership.image if self._ownership else None
        if made is not None and made.digest == digest:
            return made
        return open_image(await self._source.image(digest), digest)

    async def _follow(self, attached: Attached) -> None:
        """Be a reader until the writer's role is wanted. Raises when PostgreSQL dies or does not follow."""
        self._following.begin(attached.feed)
        await persist(self._site.door, lambda connection: self._observe(attached, connection))

    async def _observe(self, attached: Attached, connection: Session) -> None:
        while not self._wanted.is_set():
            await self._following.observe(connection, attached.feed)
            if not self._ready and (self._role is Role.READER or self._following.caught_up):
                self._become(Role.READER, self._message if self._role is Role.READER else "", ready=True)
            await self._pause()
            if not attached.server.alive:
                raise ServerDied(f"PostgreSQL ended with {attached.server.died.result()}")

    async def _pause(self) -> None:
        """Wait a little, less if there is a wish or PostgreSQL died."""
        wish = asyncio.create_task(self._wanted.wait())
        signs: set[asyncio.Future[Any]] = {wish}
        if self._attached is not None:
            signs.add(self._attached.server.died)
        await asyncio.wait(signs, timeout=OBSERVE_S, return_when=asyncio.FIRST_COMPLETED)
        wish.cancel()

    async def _become_writer(self) -> bool:
        """Campaign and take over; False leaves a reader, or one that still waits for a volume."""
        began, ownership = time.monotonic(), self._new_ownership()
        self._become(Role.PROMOTING, "asking the storage nodes")
        try:
            elected = await accession.campaign(ownership, lease=self._identity.lease)
            where = {"epoch": elected.epoch, "lsn": format_lsn(elected.end)}
            log.info("elected", extra=where)
            attached = self._attached or await self._attach(elected.history, elected.end)
            self._become(Role.PROMOTING, f"elected for epoch {elected.epoch}, replaying")
            await accession.prepare(attached, ownership, elected)
        except (ReignEnded, PromotionFailed) as error:
            await self._stand_back(ownership, error)
            return False
        latency, lease = self.tally.latency, self._identity.lease
        await accession.take_over(
            attached, ownership, elected, lease=lease, latency=latency, given_up=self._given_up
        )  # fmt: skip
        log.info("writer after %.2f s", time.monotonic() - began, extra=where)
        self._wanted.clear()
        keeper = RoomKeeper(self._site.door, ownership, elected.end, self._hold_writing)
        self._keeper = asyncio.create_task(keeper.run())
        self.tally.promotions += 1
        self._become(Role.WRITER, "", ready=True)
        return True

    async def _hold_writing(self, full: str) -> None:
        """Make the database read-only because of `full`, or writable if that is empty."""
        if self._attached is not None and self._tuning.in_force is not None:
            await self._tuning.restrict(self._attached, bool(full))
            self._full = full
            self._on_change()

    def _new_ownership(self) -> Ownership:
        attached = self._attached
        segment = attached.image.head.description.segment_size if attached else SEGMENT_MIB * MIB
        self._ownership = Ownership(
            config=self._members.config,
            tls=self._identity.tls,
            lease=self._identity.lease,
            segment_size=segment,
            make_image=self._make_image,
            # Whoever asked may not have heard of an election of the last moments: it is the owner before who is meant.
            known=attached.feed.epoch_before(self._identity.lease) if attached else NOBODY,
        )
        return self._ownership

    async def _make_image(self) -> Image:
        """Make image 0, or wait for the one that an earlier candidacy left being made: a thread cannot be cancelled."""
        if self._making is None or self._making.done():
            site = self._site
            making = asyncio.to_thread(make_image, site.binaries, site.fresh("initdb"), site.account)
            self._making = asyncio.create_task(making)
            self._making.add_done_callback(lambda made: made.cancelled() or made.exception())
        return await asyncio.shield(self._making)

    async def _stand_back(self, ownership: Ownership, error: PostgresError) -> None:
        log.info("not promoted: %s", error)
        self._wanted.clear()
        self._ownership = None
        await ownership.aclose(resign=True)
        if self._attached is not None:
            if not self._attached.server.alive:
                raise error
            await stay_standby(self._attached)
        self._become(Role.READER if self._attached else Role.STARTING, str(error))

    async def _end(self, reason: str, cause: Cause) -> None:
        """Stop PostgreSQL first, then let the epoch go, then remove the directory; what is left begins anew."""
        log.info("ends: %s", reason)
        if self._role is Role.WRITER:
            self.tally.reigns_ended[cause] += 1
        self._become(Role.STOPPED, reason)
        if self._attached is not None:
            await self._attached.halt(choose_grace(self._identity.lease))
        if self._ownership is not None:
            await self._ownership.aclose(resign=True)
        for task in filter(None, (self._census, self._keeper)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._attached is not None:
            await self._attached.stop()
        self._attached = self._ownership = self._census = self._keeper = None
        self._provision.end()
        self._full, self._following = "", Following()
        self._wanted.clear()
        self._given_up.clear()
        self._tuning.forget()
        self.tally.latency.forget()

    def _become(self, role: Role, message: str, *, ready: bool = False) -> None:
        if role is not self._role:
            log.info("%s", role.value, extra={"role": role.value})
        self._role, self._ready, self._message = role, ready, message
        self._served = self._served or ready
        self._on_change()
