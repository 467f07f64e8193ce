"""What a storage node fetches from its peers: images, and log that it pulls to catch up; in the event loop.

Invariant: an image is reported to the node only when it is whole, right and durable; pulled log goes through the
node, in order, from several peers at once (`core.sourcing`), and waits while the disk is behind; what a donor does not
give is asked of another.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar, assert_never

from borealis_engine.contract.volume import Member, MemberId
from borealis_engine.core.effects import CancelPull, LoadImage, Pull, PullImage
from borealis_engine.core.messages import ImageData, LogData
from borealis_engine.core.sourcing import Ask, Sourcing, donors
from borealis_engine.core.standing import Hearsay, told
from borealis_engine.net.dial import converse
from borealis_engine.net.errors import Disconnected, NetError, RequestRefused
from borealis_engine.net.requests import get_image, read_on
from borealis_engine.store.errors import DiskCorrupt, Exhausted, ImageUnknown, StoreError
from borealis_engine.store.images import Upload
from borealis_engine.store.member import Store

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

BACKLOG = 16 << 20  # bytes waiting for the disk before pulling pauses


class Transfer:
    """One range of log that is pulled."""

    def __init__(self, pull: Pull, sourcing: Sourcing) -> None:
        self.pull = pull
        self.sourcing = sourcing
        self.moved = asyncio.Event()  # there may be something to ask for
        self.lanes: dict[MemberId, asyncio.Queue[Ask | None]] = {}  # what each donor is asked for; None: no more


class Intake:
    """Pulls under way."""

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell
        self._pulls: dict[int, asyncio.Task[None]] = {}
        self._fetching: set[str] = set()
        self._hearsay = Hearsay()

    def take(self, effect: PullImage | LoadImage | Pull | CancelPull) -> None:
        """Begin, go on with, or cancel a transfer."""
        match effect:
            case PullImage(image=image, donor=donor):
                if image not in self._fetching:
                    self._fetching.add(image)
                    self._shell.spawn(self._fetch(image, donor))
            case LoadImage(token=token):
                self._pulls[token] = self._shell.spawn(self._load(effect))
            case Pull(token=token):
                self._pulls[token] = self._shell.spawn(self._pull(effect))
            case CancelPull(token=token):
                if token in self._pulls:
                    self._pulls.pop(token).cancel()
            case _:
                assert_never(effect)

    async def obtain(self, image: str, members: Iterable[MemberId]) -> bool:
        """Store a blob, whether one of that name is here or not, from the first who gives it; False if nobody does.

        StoreError if it cannot be stored.
        """
        for donor in members:
            try:
                async with aclosing(get_image(self._shell.endpoint, self._member(donor), image)) as pieces:
                    await self._write(image, pieces)
                return True
            except (NetError, ImageUnknown, Exhausted) as error:
                self._learn(error, donor)
                log.warning("image %s did not come: %s", image[:12], error, extra={"peer": donor})
        return False

    async def _write(self, image: str, pieces: AsyncIterator[ImageData]) -> None:
        """Store a blob and tell the node."""
        store, upload = self._store(), None
        try:
            async for piece in pieces:
                if upload is None:
                    upload = await self._in_thread(store.images.begin, image, piece.size)
                await self._in_thread(upload.add, piece.offset, piece.data)
                if upload.whole:
                    break
            if upload is None:
                raise ImageUnknown(f"nothing of image {image} came")
            await self._finish(upload)
        finally:
            if upload is not None:
                self._shell.disk_thread.submit(upload.abandon)  # behind what that thread may still be writing

    async def _finish(self, upload: Upload) -> None:
        extent = await self._in_thread(upload.finish)
        log.info("stored image %s of %d bytes", upload.image[:12], upload.size)
        self._shell.input(lambda now: self._shell.node.image_arrived(upload.image, extent, now))

    def _store(self) -> Store:
        if self._shell.store is None:
            raise ImageUnknown("no disk")
        return self._shell.store

    async def _in_thread(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._shell.disk_thread, call)

    # --- pulls ---------------------------------------------------------------------------------------------------

    async def _fetch(self, image: str, first: MemberId) -> None:
        """Ask one member after the other until one gives the image."""
        shell = self._shell
        try:
            if not await self.obtain(image, donors(shell.node.config, shell.node.member, first)):
                shell.input(lambda now: shell.node.image_failed(image, now))
        except StoreError as error:
            shell.fail(error)
        finally:
            self._fetching.discard(image)

    async def _load(self, effect: LoadImage) -> None:
        """Give the log that came with an image to the node; it is at most one segment."""
        store, shell = self._store(), self._shell
        try:
            data = await self._in_thread(store.images.log, effect.image, effect.start, effect.upto)
            shell.input(lambda now: shell.node.pulled(effect.token, effect.start, data, now))
        except (ImageUnknown, DiskCorrupt, Exhausted) as error:
            log.warning("no log from an image: %s", error)
            if isinstance(error, DiskCorrupt):
                shell.meters.corrupt.inc()
                shell.on_damage(effect.image, error)
            shell.input(lambda now: shell.node.pull_failed(effect.token, now))
        except StoreError as error:
            shell.fail(error)
        self._pulls.pop(effect.token, None)

    async def _pull(self, effect: Pull) -> None:
        """Read from several members at once; the pull failed once nobody is left who would give what is missing."""
        shell, node = self._shell, self._shell.node
        asked = donors(node.config, node.member, effect.donor)
        transfer = Transfer(effect, Sourcing(start=effect.start, upto=effect.upto, donors=asked))
        log.info("pulling log up to %d", effect.upto, extra={"peer": effect.donor, "lsn": effect.start})
        async with asyncio.TaskGroup() as lanes:
            while not transfer.sourcing.done and not transfer.sourcing.hopeless:
                transfer.moved.clear()
                for ask in transfer.sourcing.asks():
                    if ask.donor not in transfer.lanes:
                        transfer.lanes[ask.donor] = asyncio.Queue()
                        lanes.create_task(self._lane(transfer, ask.donor))
                    transfer.lanes[ask.donor].put_nowait(ask)
                await transfer.moved.wait()
            for queue in transfer.lanes.values():
                queue.put_nowait(None)
        self._pulls.pop(effect.token, None)
        if not transfer.sourcing.done:
            shell.input(lambda now: node.pull_failed(effect.token, now))

    async def _lane(self, transfer: "Transfer", donor: MemberId) -> None:
        """Read from one member, on one connection, what it is asked for, until that is all or it fails."""
        queue, failed = transfer.lanes[donor], True
        try:
            member = self._member(donor)
            async with converse(self._shell.endpoint, member) as conversation:
                while (ask := await queue.get()) is not None:
                    source = read_on(conversation, member, start=ask.start, upto=ask.upto, epoch=transfer.pull.epoch)
                    async with aclosing(source) as pieces:
                        async for piece in pieces:
                            await self._arrived(transfer, donor, piece)
                    transfer.sourcing.ended(donor)
                    transfer.moved.set()
            failed = False
        except NetError as error:
            self._learn(error, donor)
            log.warning("pulling log failed: %s", error, extra={"peer": donor, "lsn": transfer.sourcing.at})
        finally:
            if failed:
                transfer.sourcing.ended(donor, failed=True)
                transfer.moved.set()

    async def _arrived(self, transfer: "Transfer", donor: MemberId, piece: LogData) -> None:
        """Hand on what has become whole, and wait while the disk is behind."""
        shell, at = self._shell, transfer.sourcing.at
        ready = transfer.sourcing.arrived(donor, piece.lsn, piece.data)
        shell.meters.pulled(len(piece.data))
        if ready:
            shell.input(partial(shell.node.pulled, transfer.pull.token, at, ready))
            transfer.moved.set()
            if shell.node.backlog > BACKLOG:
                await asyncio.get_running_loop().run_in_executor(None, shell.wait_for_disk, BACKLOG)

    def _member(self, id: MemberId) -> Member:
        for member in self._shell.node.config.everyone:
            if member.id == id:
                return member
        raise Disconnected(f"member {id} is not in the configuration")

    def _learn(self, error: Exception, donor: MemberId) -> None:
        """Adopt a higher configuration that a peer refused us with, if it may be believed."""
        offered = told(error.refused) if isinstance(error, RequestRefused) else None
        if offered is not None and self._hearsay.believe(offered, self._shell.node.config, donor):
            self._shell.configure(offered)
