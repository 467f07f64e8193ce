"""Single requests to a storage node, each on a connection of its own: read or follow the log, get or put an image.

Invariant: what is handed out is contiguous and, for images, has the digest that was asked for; a lie or a gap is
an error.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import TypeVar

from borealis_engine.contract.volume import Epoch, Lsn, Member
from borealis_engine.core.messages import (
    Feed,
    GetImage,
    ImageData,
    ImageStored,
    LogData,
    Message,
    PutImage,
    Read,
    Subscribe,
)
from borealis_engine.net.channel import Endpoint
from borealis_engine.net.dial import Conversation, converse
from borealis_engine.net.errors import Disconnected

M = TypeVar("M", bound=Message)

STORE_S = 60.0  # a node may take so long to make an image durable
FEED_SILENCE_S = 3.0  # nodes send an empty Feed each second when there is nothing new


async def read_log(
    endpoint: Endpoint, member: Member, *, start: Lsn, upto: Lsn, epoch: Epoch
) -> AsyncGenerator[LogData, None]:
    """Give the log from `start` to `upto` in contiguous pieces, as far as the node holds it (may end early)."""
    async with (
        converse(endpoint, member) as conversation,
        aclosing(read_on(conversation, member, start=start, upto=upto, epoch=epoch)) as pieces,
    ):
        async for piece in pieces:
            yield piece


async def read_on(
    conversation: Conversation, member: Member, *, start: Lsn, upto: Lsn, epoch: Epoch
) -> AsyncGenerator[LogData, None]:
    """Do the same on a connection that is there, for one of several requests."""
    at = start
    await conversation.send(Read(epoch=epoch, start=start, upto=upto))
    while True:
        piece = _expect(await conversation.receive(), LogData)
        if piece.lsn != at or piece.lsn + len(piece.data) > upto:
            raise Disconnected(f"{member.name} sent log at {piece.lsn} where {at} belongs")
        at = Lsn(at + len(piece.data))
        if piece.data:
            yield piece
        if piece.last:
            return


async def read_log_bytes(endpoint: Endpoint, member: Member, *, start: Lsn, upto: Lsn, epoch: Epoch) -> bytes:
    """Give the log from `start` to `upto` at once; shorter if the node holds less."""
    return b"".join([piece.data async for piece in read_log(endpoint, member, start=start, upto=upto, epoch=epoch)])


async def subscribe(endpoint: Endpoint, member: Member, *, start: Lsn) -> AsyncGenerator[Feed, None]:
    """Follow the log from `start` up to D for as long as the caller iterates.

    An empty Feed comes at least each second. After a Feed with a new history the bytes may go on at a lower LSN (the
    new reign's start); within a history they are contiguous. Disconnected when the node is silent or gone.
    """
    async with converse(endpoint, member) as conversation:
        await conversation.send(Subscribe(start=start))
        while True:
            yield _expect(await conversation.receive(FEED_SILENCE_S), Feed)


async def get_image(endpoint: Endpoint, member: Member, image: str) -> AsyncGenerator[ImageData, None]:
    """Give the blob in contiguous pieces; Disconnected after the last one if the digest is not `image`."""
    digest, at = hashlib.sha256(), 0
    async with converse(endpoint, member) as conversation:
        await conversation.send(GetImage(image=image))
        while True:
            piece = _expect(await conversation.receive(), ImageData)
            if piece.image != image or piece.offset != at:
                raise Disconnected(f"{member.name} sent a wrong piece of image {image}")
            digest.update(piece.data)
            at += len(piece.data)
            yield piece
            if at >= piece.size:
                break
    if digest.hexdigest() != image:
        raise Disconnected(f"{member.name} sent image {digest.hexdigest()} for {image}")


async def put_image(endpoint: Endpoint, member: Member, *, image: str, size: int, pieces: AsyncIterable[bytes]) -> None:
    """Upload a blob of `size` bytes; returns once the node has it durably ."""
    offset = 0
    async with converse(endpoint, member) as conversation:
        async for data in pieces:
            await conversation.send(PutImage(image=image, size=size, offset=offset, data=data))
            offset += len(data)
        _expect(await conversation.receive(STORE_S), ImageStored)


def _expect(message: Message, kind: type[M]) -> M:
    if not isinstance(message, kind):
        raise Disconnected(f"{type(message).__name__} came where {kind.__name__} was due")
    return message
