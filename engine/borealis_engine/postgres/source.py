"""Where an instance reads the volume's log and images: its own zone first, then the others.

The invariant: one failing node never stops a reader while another one answers; a node that lags behind what is
known to be durable is left for another.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, TypeAlias

from borealis_engine.contract.volume import Lsn, Member
from borealis_engine.core.messages import Feed, History
from borealis_engine.net.errors import NetError
from borealis_engine.net.members import Members
from borealis_engine.postgres.errors import FeedBroken

RETRY_S = 0.1
FORGIVE_S = 10.0
BEGINNING = Lsn(0)  # "from the first byte that is held"
Feeds: TypeAlias = AsyncGenerator[Feed, None]


class LogSource(Protocol):
    """What the feed needs; `postgres.testing` has one in memory."""

    def order(self) -> list[Member]:
        """Give the members to ask, best first."""

    def demote(self, member: Member) -> None:
        """Ask this one last from now on."""

    def follow(self, member: Member, start: Lsn) -> Feeds:
        """Follow the log at one member; FeedBroken at the end of the connection, however it ended."""

    async def look(self, start: Lsn = BEGINNING) -> tuple[History, Lsn]:
        """Ask until a member answers for (history, D)."""


class Source:
    """Reads from the members; remembers which one served last."""

    def __init__(self, members: Members, *, zone: str) -> None:
        self._members = members
        self._zone = zone
        self._demoted: dict[str, float] = {}  # members that failed, and when

    def order(self) -> list[Member]:
        """Give the members to ask, best first."""
        members = list(self._members.config.members)
        random.shuffle(members)
        forgiven = time.monotonic() - FORGIVE_S
        failed = {id: at for id, at in self._demoted.items() if at > forgiven}
        return sorted(members, key=lambda m: (failed.get(m.id, 0.0), m.zone != self._zone))

    def demote(self, member: Member) -> None:
        """Ask this one last for FORGIVE_S."""
        self._demoted[member.id] = time.monotonic()

    async def follow(self, member: Member, start: Lsn) -> Feeds:
        """Follow the log at one member; FeedBroken at the end of the connection, however it ended."""
        try:
            async with aclosing(self._members.subscribe(member.id, start=start)) as feeds:
                async for feed in feeds:
                    yield feed
        except NetError as error:
            self.demote(member)
            raise FeedBroken(f"{member.name}: {error}") from error

    async def look(self, start: Lsn = BEGINNING) -> tuple[History, Lsn]:
        """Ask until a member answers for (history, D); the history is empty while there is no volume yet."""
        while True:
            for member in self.order():
                try:
                    async with aclosing(self.follow(member, start)) as feeds:
                        async for feed in feeds:
                            if feed.history is not None:
                                return feed.history, feed.durable
                except FeedBroken:
                    continue
            await asyncio.sleep(RETRY_S)

    async def image(self, digest: str) -> bytes:
        """Fetch a blob; FeedBroken if no member gives it."""
        reason = "no members"
        for member in self.order():
            try:
                async with aclosing(self._members.get_image(member.id, digest)) as pieces:
                    return b"".join([piece.data async for piece in pieces])
            except NetError as error:
                reason = f"{member.name}: {error}"
                self.demote(member)
        raise FeedBroken(f"image {digest} cannot be fetched; {reason}")
