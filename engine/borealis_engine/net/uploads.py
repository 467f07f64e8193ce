"""Images that are uploaded to a storage node, piece by piece, each in its connection's own thread.

Invariant: an image is reported to the node only when it is whole, right and durable.
"""

import logging
from typing import TYPE_CHECKING

from borealis_engine.core.effects import Conn, StoreImage
from borealis_engine.core.messages import PutImage, Reason, Refused
from borealis_engine.store.errors import Exhausted, ImageUnknown, StoreError
from borealis_engine.store.images import Upload

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell

log = logging.getLogger(__name__)


class Uploads:
    """Uploads under way."""

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell
        self._uploads: dict[tuple[Conn, str], Upload] = {}

    def take(self, effect: StoreImage) -> None:
        """Write a piece; with the last one, tell the node of the image."""
        try:
            self._write(effect.conn, effect.piece)
        except (ImageUnknown, Exhausted) as error:
            self._drop(effect.conn, effect.piece.image)
            self._refuse(effect.conn, str(error))
        except StoreError as error:
            self._drop(effect.conn, effect.piece.image)
            self._shell.fail(error)

    def closed(self, conn: Conn) -> None:
        """Forget what a connection did not finish."""
        for key in [key for key in list(self._uploads) if key[0] == conn]:
            self._drop(*key)

    def _write(self, conn: Conn, piece: PutImage) -> None:
        store, key = self._shell.store, (conn, piece.image)
        if store is None:
            raise ImageUnknown("no disk")
        upload = self._uploads.get(key)
        if upload is None:
            upload = self._uploads[key] = store.images.begin(piece.image, piece.size)
        upload.add(piece.offset, piece.data)
        if upload.whole:
            del self._uploads[key]
            self._finish(upload)

    def _finish(self, upload: Upload) -> None:
        try:
            extent = upload.finish()
        finally:
            upload.abandon()
        log.info("stored image %s of %d bytes", upload.image[:12], upload.size)
        self._shell.input(lambda now: self._shell.node.image_arrived(upload.image, extent, now))

    def _drop(self, conn: Conn, image: str) -> None:
        upload = self._uploads.pop((conn, image), None)
        if upload is not None:
            upload.abandon()

    def _refuse(self, conn: Conn, message: str) -> None:
        shell, node = self._shell, self._shell.node
        refused = Refused(
            reason=Reason.UNKNOWN,
            promised=node.durable.promised,
            generation=node.config.generation,
            config="",
            message=message,
        )
        with shell.lock:
            stream = shell.stream(conn)
        if stream is not None:
            stream.send(refused)
