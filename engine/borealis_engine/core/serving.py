"""What a storage node gives to readers, peers and candidates, and takes as uploads: log, feeds, images.

Only the permission is decided here; the shell moves the bytes.
"""

from collections.abc import Callable
from typing import TypeAlias

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.effects import (
    Conn,
    ImageExtent,
    NodeEffect,
    Send,
    ServeFeed,
    ServeImage,
    ServeLog,
    StoreImage,
)
from borealis_engine.core.journal import NOBODY, NOWHERE, DurableState
from borealis_engine.core.messages import GetImage, ImageStored, PutImage, Read, Reason, Subscribe
from borealis_engine.core.pipeline import Pipeline
from borealis_engine.core.watermark import Watermark

Refuse: TypeAlias = Callable[[Conn, Reason, str], None]


class Serving:
    """Reads, feeds and images of one node."""

    __slots__ = ("_emit", "_images", "_mark", "_pipe", "_refuse", "_uploads", "feeds", "salvages")

    def __init__(
        self,
        *,
        pipe: Pipeline,
        mark: Watermark,
        images: dict[str, ImageExtent],
        emit: Callable[[NodeEffect], None],
        refuse: Refuse,
    ) -> None:
        self._pipe, self._mark, self._images, self._emit, self._refuse = pipe, mark, images, emit, refuse
        self._uploads: dict[str, set[Conn]] = {}
        self.feeds: set[Conn] = set()  # connections of readers who follow the log here
        self.salvages = False  # whether reads are answered although the node is out of service

    def salvage(self, durable: DurableState) -> None:
        """Let others read the log of a disk that is damaged, as far as what is whole of it shows `durable`.

        They may be damaged too, each in another place. What is below D, or of one epoch, is the same on every member.
        """
        self._pipe, self._mark, self.salvages = Pipeline(durable), Watermark(durable), True

    @property
    def readable(self) -> Lsn:
        """End of what readers may be sent: durable here, below D, and not about to be cut."""
        held, seen = self._pipe.held, self._pipe.seen
        return self._mark.here(held) if held is seen else min(self._mark.here(held), self._mark.here(seen))

    def serves(self, epoch: Epoch) -> bool:
        """Whether log of `epoch` is here, and not about to be cut (0: log below D never is)."""
        return epoch == NOBODY or epoch == self._pipe.held.epoch == self._pipe.seen.epoch

    def request(self, conn: Conn, message: Read | Subscribe | GetImage | PutImage) -> None:
        """Have it served, or refuse."""
        match message:
            case Read():
                self._read(conn, message)
            case Subscribe(start=start):
                if start == NOWHERE or (self._pipe.held.history and start >= self._pipe.held.start):
                    self.feeds.add(conn)
                    self._emit(ServeFeed(conn=conn, start=start))
                else:
                    self._refuse(conn, Reason.UNKNOWN, f"log from {start} is not here")
            case GetImage(image=image):
                if image in self._images:
                    self._emit(ServeImage(conn=conn, image=image))
                else:
                    self._refuse(conn, Reason.UNKNOWN, f"image {image} is not here")
            case PutImage():
                self._put_image(conn, message)

    def _read(self, conn: Conn, read: Read) -> None:
        held = self._pipe.held
        limit = held.flush if read.epoch else self.readable
        if not self.serves(read.epoch) or not held.start <= read.start <= limit:
            self._refuse(conn, Reason.UNKNOWN, f"log of epoch {held.epoch} from {held.start} to {limit} is here")
            return
        upto = max(read.start, min(read.upto, limit))
        self._emit(ServeLog(conn=conn, epoch=read.epoch, start=read.start, upto=upto))

    def _put_image(self, conn: Conn, piece: PutImage) -> None:
        if piece.image not in self._images:
            self._uploads.setdefault(piece.image, set()).add(conn)
            self._emit(StoreImage(conn=conn, piece=piece))
        elif piece.offset + len(piece.data) >= piece.size:
            self._emit(Send(conn=conn, message=ImageStored(image=piece.image)))

    def image_arrived(self, image: str) -> None:
        """Tell those who uploaded it."""
        for conn in sorted(self._uploads.pop(image, set())):
            self._emit(Send(conn=conn, message=ImageStored(image=image)))

    def closed(self, conn: Conn) -> None:
        """Forget what `conn` asked for."""
        self.feeds.discard(conn)
        for waiting in self._uploads.values():
            waiting.discard(conn)
