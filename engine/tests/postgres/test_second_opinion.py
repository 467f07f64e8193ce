"""A reader must not stay with a node that answers, but that the writer does not reach; nor leave one for nothing."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing

import pytest
from borealis_engine.contract.volume import Epoch, Lsn, Member, MemberId
from borealis_engine.core.history import extend
from borealis_engine.core.messages import Feed as Sent
from borealis_engine.core.messages import History, Reign
from borealis_engine.postgres import feed
from borealis_engine.postgres.errors import FeedBroken
from borealis_engine.postgres.feed import Feed, System
from borealis_engine.postgres.source import BEGINNING, Feeds
from borealis_engine.proto.testing import SEGMENT, WalBuilder

DEADLINE_S = 20.0
BEAT_S = 0.01
MEMBERS = tuple(Member(id=MemberId(f"{i}"), name=f"n{i}", zone="a") for i in range(4))
LOG = WalBuilder()
for _ in range(20):
    LOG.record(500)
FIRST: History = (Reign(epoch=Epoch(1), start=Lsn(LOG.start), image="i"),)


class Nodes:
    """A LogSource: each node has its own D and history, and is always glad to say so."""

    def __init__(self, durable: list[int], histories: dict[int, History]) -> None:
        self.durable, self.histories = durable, histories
        self.begun: list[str] = []  # names, in the order in which they were asked
        self.left: list[str] = []

    def order(self) -> list[Member]:
        return sorted(MEMBERS, key=lambda m: (m.name in self.left, m.name))

    def demote(self, member: Member) -> None:
        self.left.append(member.name)

    async def follow(self, member: Member, start: Lsn) -> Feeds:
        self.begun.append(member.name)
        number, at, told = MEMBERS.index(member), int(start), False
        if number == 3:
            raise FeedBroken("down")
        while True:
            upto = max(at, self.durable[number])
            data = bytes(LOG.data[at - LOG.start : upto - LOG.start])
            history = None if told else self.histories.get(number, FIRST)
            yield Sent(lsn=Lsn(at), durable=Lsn(self.durable[number]), data=data, history=history)
            at, told = upto, True
            await asyncio.sleep(BEAT_S)

    async def look(self, start: Lsn = BEGINNING) -> tuple[History, Lsn]:
        return FIRST, Lsn(self.durable[0])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "DOUBT_S", 0.1)
    monkeypatch.setattr(feed, "IMPATIENCE_S", 0.05)


async def read(nodes: Nodes, until: Callable[[Feed], bool]) -> Feed:
    """Follow the feed until that holds."""
    system = System(identifier=1, version="15", segment_size=SEGMENT)
    following = Feed(nodes, system, history=FIRST, durable=Lsn(nodes.durable[0]))
    async with asyncio.timeout(DEADLINE_S), aclosing(following.pieces(Lsn(LOG.start))) as pieces:
        async for _ in pieces:
            if until(following):
                return following
    raise AssertionError("the feed ended")


async def test_a_node_that_the_writer_does_not_reach_is_left() -> None:
    middle, end = LOG.ends[9], LOG.ends[-1]
    nodes = Nodes([middle, middle, end, end], {})  # the second is cut off likewise
    following = await read(nodes, lambda each: each.passed == end)
    assert following.durable == end
    assert "n0" in nodes.left


async def test_a_newer_reign_elsewhere_counts_though_its_d_is_lower() -> None:
    middle = LOG.ends[9]
    newer = extend(FIRST, Epoch(2), middle)
    nodes = Nodes([middle + 7, middle + 7, middle, middle], {2: newer})
    following = await read(nodes, lambda each: len(each.history) == 2)
    assert following.durable == middle
    assert "n0" in nodes.left


async def test_on_an_idle_volume_the_reader_stays_and_asks_one_at_a_time() -> None:
    nodes = Nodes([LOG.ends[-1]] * 4, {})
    await read(nodes, lambda each: nodes.begun.count("n3") >= 3)
    asked = Counter(nodes.begun)
    assert asked["n0"] == 1
    assert "n0" not in nodes.left
    assert max(asked.values()) - min(asked[name] for name in ("n1", "n2", "n3")) <= 1
    assert all(one != other for one, other in itertools.pairwise(nodes.begun))
