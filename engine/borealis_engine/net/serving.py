"""What a storage node sends out in bulk: pieces of the log, feeds, images. The node has permitted each already.

Each answer is sent by its connection's own thread, which reads nothing meanwhile. Invariant: after each wait the node
is asked again whether what was read may still be sent, so nothing that a truncation made void goes out, a feed never
passes the node's `readable`, and none outlives the node's service.
"""

import time
from typing import TYPE_CHECKING, Final, assert_never

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.effects import Conn, ServeFeed, ServeImage, ServeLog
from borealis_engine.core.messages import Feed, ImageData, LogData
from borealis_engine.net.pace import PIECE, Pace
from borealis_engine.net.stream import Stream
from borealis_engine.store.errors import DiskCorrupt, Exhausted, ImageUnknown, LogDamaged, LogUnknown, StoreError
from borealis_engine.store.journal import Journal

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell

FEED_SILENCE_S: Final = 1.0  # an empty Feed says that the node lives


class Serving:
    """The bulk answers under way."""

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell
        self._fed: dict[Conn, Lsn] = {}  # up to where each feed was sent
        self._pace = Pace()
        self.salvaged: Journal | None = None  # of a disk that is damaged: what is whole of it is read

    def closed(self, conn: Conn) -> None:
        """Forget a connection; under the lock."""
        self._fed.pop(conn, None)

    def truncated(self, end: Lsn) -> None:
        """Close the feeds that were sent log above `end`: readers begin again at a record's end. Under the lock."""
        for conn, fed in self._fed.items():
            stream = self._shell.stream(conn)
            if fed > end and stream is not None:
                stream.close(f"the log was truncated at {end}")

    def serve(self, effect: ServeLog | ServeFeed | ServeImage) -> None:
        """Answer to the end."""
        with self._shell.lock:
            stream = self._shell.stream(effect.conn)
        if stream is None:
            return
        try:
            match effect:
                case ServeLog():
                    self._log(effect, stream)
                case ServeFeed():
                    self._feed(effect, stream)
                case ServeImage():
                    self._image(effect, stream)
                case _:
                    assert_never(effect)
        except (LogUnknown, ImageUnknown, Exhausted) as error:
            stream.close(str(error))
        except DiskCorrupt as error:
            stream.close(str(error))
            self._damaged(effect, error)
        except StoreError as error:
            stream.close(str(error))
            self._shell.fail(error)

    def _damaged(self, effect: ServeLog | ServeFeed | ServeImage, error: DiskCorrupt) -> None:
        self._shell.meters.corrupt.inc()
        if isinstance(effect, ServeImage):
            self._shell.on_damage(effect.image, error)
        elif isinstance(error, LogDamaged):
            self._shell.on_damage(error.file, error)
        else:
            self._shell.fail(error)

    def _read(self, start: Lsn, upto: Lsn, limit: int) -> bytes:
        if (store := self._shell.store) is not None:
            return store.journal.read(start, upto, limit=limit)
        if self.salvaged is None:
            raise LogUnknown("no disk")
        try:
            return self.salvaged.read(start, upto, limit=limit)
        except DiskCorrupt as error:
            raise LogUnknown(f"not here either: {error}") from error

    def _log(self, effect: ServeLog, stream: Stream) -> None:
        at, upto, node = effect.start, effect.upto, self._shell.node
        while stream.open:
            data = self._read(at, upto, self._pace.piece)
            with self._shell.lock:
                served, flush = node.serves(effect.epoch), node.durable.flush
            if not served:
                stream.close("the log of this epoch is not served any more")
                return
            last = at + len(data) >= upto
            stream.send_bulk(LogData(lsn=at, data=data, last=last))
            time.sleep(self._pace.pause(len(data), flush=flush))
            at = Lsn(at + len(data))
            if last:
                return

    def _feed(self, effect: ServeFeed, stream: Stream) -> None:
        shell, node = self._shell, self._shell.node
        sent, told = effect.start, None
        while stream.open:
            with shell.lock:
                cuts, sent, upto = shell.cuts, max(sent, node.durable.start), node.readable
            data = self._read(sent, upto, PIECE)
            with shell.lock:
                history = node.feed_history
                if node.unfit:
                    stream.close(f"out of service: {node.unfit}")
                    return
                if shell.cuts != cuts or sent + len(data) > max(sent, node.readable):
                    continue  # truncated while it was read
                self._fed[effect.conn] = Lsn(sent + len(data))
            stream.send_bulk(Feed(lsn=sent, durable=upto, data=data, history=history if history != told else None))
            told, sent = history, Lsn(sent + len(data))
            if sent >= upto:
                self._await_news(stream, upto, told)

    def _await_news(self, stream: Stream, upto: Lsn, told: object) -> None:
        """Wait until there is something to send, at most until it is time to say that the node lives."""
        node = self._shell.node
        with self._shell.lock:
            self._shell.changed.wait_for(
                lambda: node.readable != upto or node.feed_history != told or node.unfit or not stream.open,
                FEED_SILENCE_S,
            )

    def _image(self, effect: ServeImage, stream: Stream) -> None:
        store = self._shell.store
        if store is None:
            raise ImageUnknown("no disk")
        size = store.images.size(effect.image)
        for offset, data in store.images.pieces(effect.image):
            if not stream.open:
                return
            stream.send_bulk(ImageData(image=effect.image, size=size, offset=offset, data=data))
