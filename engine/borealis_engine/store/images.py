"""Image blobs, stored by digest: a blob has its name only once it is whole, right and durable.

Nothing chooses among blobs here: which image is the volume's is said by the journal's history alone. So a blob that
cannot be read makes nobody forget what it holds: it is `unreadable`, and fetched anew from another member.
"""

import hashlib
import itertools
from collections.abc import Iterator

from borealis_engine.contract.volume import Lsn
from borealis_engine.core.effects import ImageExtent
from borealis_engine.proto.image import HEAD, MAX_DESCRIPTION, ImageHead, ImageMalformed, parse_head
from borealis_engine.store.disk import Buffer, Disk, File
from borealis_engine.store.errors import DiskCorrupt, ImageUnknown, disk_errors, reading

FOLDER = "images"
TEMPORARY = ".new"
PIECE = 1 << 20
DIGEST_LENGTH = 64


class Images:
    """The blobs of one disk."""

    def __init__(self, disk: Disk) -> None:
        """Drop unfinished uploads and learn which blobs are there."""
        self._disk = disk
        self._numbers = itertools.count()
        self._heads: dict[str, ImageHead] = {}
        self._sizes: dict[str, int] = {}
        self.unreadable: dict[str, str] = {}  # blobs that are here and cannot be used, and why
        with disk_errors("opening the images"):
            disk.make_folder(FOLDER)
            for name in disk.list(FOLDER):
                if name.endswith(TEMPORARY):
                    disk.remove(f"{FOLDER}/{name}")
                else:
                    self._learn(name)

    def _learn(self, image: str) -> None:
        """Note a blob, or that it cannot be read."""
        try:
            self._heads[image] = self._read_head(image)
        except DiskCorrupt as error:
            self.unreadable[image] = str(error)

    @property
    def extents(self) -> dict[str, ImageExtent]:
        """Give for each blob the log bytes that came with it."""
        return {name: extent_of(head) for name, head in self._heads.items()}

    def size(self, image: str) -> int:
        """Give the length of a blob in bytes; ImageUnknown if it is not here."""
        if image not in self._sizes:
            raise ImageUnknown(f"image {image} is not here")
        return self._sizes[image]

    @property
    def bytes_used(self) -> int:
        """Give the length of all blobs."""
        return sum(self._sizes.values())

    def pieces(self, image: str) -> Iterator[tuple[int, bytes]]:
        """Give (offset, bytes) of the whole blob; ImageUnknown if it is not here, DiskCorrupt at its end if damaged."""
        with reading(f"image {image}"):
            file = self._open(image)
            try:
                yield from checked_pieces(file, image)
            finally:
                file.close()

    def log(self, image: str, start: Lsn, upto: Lsn) -> bytes:
        """Give the log bytes [start, upto) that came with a blob; ImageUnknown if they did not."""
        with reading(f"image {image}"):
            for _ in self.pieces(image):
                pass  # the digest is of the whole: no part of it is believed before
            file = self._open(image)
            try:
                head = self._heads[image]
                extent = extent_of(head)
                if not extent.start <= start <= upto <= extent.end:
                    raise ImageUnknown(f"log [{start}, {upto}) did not come with image {image}")
                return file.read(upto - start, head.wal_offset + start - extent.start)
            finally:
                file.close()

    def begin(self, image: str, size: int) -> "Upload":
        """Begin to store a blob of `size` bytes; ImageUnknown if `image` is no digest."""
        if len(image) != DIGEST_LENGTH or not set(image) <= set("0123456789abcdef"):
            raise ImageUnknown(f"{image[:80]!r} is not the name of an image")
        with disk_errors(f"image {image}"):
            name = f"{FOLDER}/{image}.{next(self._numbers)}{TEMPORARY}"
            return Upload(self, self._disk, name, image, size)

    def _open(self, image: str) -> File:
        if image not in self._heads:
            raise ImageUnknown(f"image {image} is not here")
        return self._disk.open(f"{FOLDER}/{image}")

    def _read_head(self, image: str) -> ImageHead:
        with reading(f"image {image}"):
            file = self._disk.open(f"{FOLDER}/{image}")
            try:
                head = read_head(file, image)
                self._sizes[image] = file.size()
                return head
            finally:
                file.close()

    def adopt(self, image: str) -> ImageExtent:
        """Note a blob that has just got its name."""
        self._heads[image] = self._read_head(image)
        self.unreadable.pop(image, None)
        return extent_of(self._heads[image])


class Upload:
    """A blob on its way in."""

    def __init__(self, images: Images, disk: Disk, name: str, image: str, size: int) -> None:
        self._images = images
        self._disk = disk
        self._name = name
        self._file = disk.create(name)
        self._digest = hashlib.sha256()
        self._offset = 0
        self.image = image
        self.size = size

    @property
    def whole(self) -> bool:
        """Tell whether all bytes have come."""
        return self._offset == self.size

    def add(self, offset: int, data: Buffer) -> None:
        """Write the next piece; ImageUnknown if it is not the next one or too long."""
        if offset != self._offset or offset + len(data) > self.size:
            raise ImageUnknown(f"piece at {offset} of image {self.image} where {self._offset} belongs")
        with disk_errors(f"image {self.image}"):
            self._file.write((data,), offset)
        self._digest.update(data)
        self._offset += len(data)

    def finish(self) -> ImageExtent:
        """Give the blob its name, durably; ImageUnknown if it is not whole, not what it claims, or no image."""
        if not self.whole or self._digest.hexdigest() != self.image:
            raise ImageUnknown(f"what came is not image {self.image}")
        with disk_errors(f"image {self.image}"):
            try:
                parse_head(self._file.read(HEAD.size + MAX_DESCRIPTION, 0))
            except ImageMalformed as error:
                raise ImageUnknown(f"image {self.image}: {error}") from error
            self._file.sync()
            self._file.close()
            self._disk.rename(self._name, f"{FOLDER}/{self.image}")
            self._disk.sync_directory(FOLDER)
            return self._images.adopt(self.image)

    def abandon(self) -> None:
        """Forget what has come; harmless after `finish`."""
        self._file.close()
        with disk_errors(f"image {self.image}"):
            if self._name.removeprefix(f"{FOLDER}/") in self._disk.list(FOLDER):
                self._disk.remove(self._name)


def read_head(file: File, image: str) -> ImageHead:
    """Read the head of a blob; DiskCorrupt if it has none."""
    try:
        return parse_head(file.read(HEAD.size + MAX_DESCRIPTION, 0))
    except ImageMalformed as error:
        raise DiskCorrupt(f"image {image}: {error}") from error


def checked_pieces(file: File, image: str) -> Iterator[tuple[int, bytes]]:
    """Give (offset, bytes) of a blob; DiskCorrupt in the place of its last piece if the digest is another."""
    digest, offset = hashlib.sha256(), 0
    while data := file.read(PIECE, offset):
        digest.update(data)
        if offset + len(data) >= file.size() and digest.hexdigest() != image:
            raise DiskCorrupt(f"image {image} is damaged")
        yield offset, data
        offset += len(data)


def extent_of(head: ImageHead) -> ImageExtent:
    """Give the log bytes that come with an image."""
    return ImageExtent(start=head.description.wal_start, end=head.description.wal_end)
