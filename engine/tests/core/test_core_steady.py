"""The short way of an append leads where the long one does: two nodes hear the same, one of them goes it when open."""

from collections.abc import Callable

import pytest
from borealis_engine.contract.volume import Epoch, Generation, Lsn, MemberId
from borealis_engine.core import messages as m
from borealis_engine.core.effects import Conn, LoadImage, Persist, Send
from borealis_engine.core.journal import EMPTY, DurableState, Logged, apply, replay
from borealis_engine.core.node import Node
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .harness import CONFIG, EXTENT, LEASE, SECOND, begin


class Walker:
    """A node that holds the entry of epoch 2, its disk, and all that it said; `short`: it goes the short way."""

    def __init__(self, *, short: bool) -> None:
        self.short = short
        self.now = 100.0
        self.taken = 0  # appends that went the short way
        self.said: list[tuple[int, m.Message]] = []
        self.disk = EMPTY
        self.node = Node(
            member=MemberId("m0"), config=CONFIG, durable=EMPTY, images={"img": EXTENT}, lease=LEASE, now=self.now
        )
        self._syncs: list[Callable[[], None]] = []
        self._loads: list[LoadImage] = []
        self.hear(1, m.Solicit(epoch=Epoch(2), owner="a"))
        self.sync()
        self.hear(1, begin(SECOND))
        self.node.pulled(self._loads[0].token, Lsn(1000), bytes(100), self.now)
        self._drain()
        self.sync()

    def hear(self, conn: int, message: m.Message) -> None:
        if self.short and isinstance(message, m.Append) and message.data and self._extend(conn, message):
            return
        self.node.receive(Conn(conn), m.Envelope(Generation(3), "s", "m0", message), self.now)
        self._drain()

    def sync(self) -> None:
        """Finish the sync that is out, and those that follow from it."""
        while self._syncs:
            self._syncs.pop(0)()

    def _extend(self, conn: int, append: m.Append) -> bool:
        size, stated = len(append.data), (append.epoch, append.stream, append.lsn, append.durable, append.beat)
        after = self.node.steady.extend(Conn(conn), *stated, size, self.now)
        if after is not None:
            self.taken += 1
            self._syncs.append(lambda: self._extended(conn, append, after))
        return after is not None

    def _extended(self, conn: int, append: m.Append, after: DurableState) -> None:
        self.disk = apply(self.disk, Logged(append.lsn, append.data))
        assert self.disk == after
        if self.node.extended(Conn(conn)):
            self.said.append((conn, m.Ack(append.epoch, after.flush, append.beat, self.node.feeding)))
        self._drain()

    def _drain(self) -> None:
        for effect in self.node.effects():
            match effect:
                case Send(conn=conn, message=message):
                    self.said.append((conn, message))
                case Persist():
                    self._syncs.append(lambda persist=effect: self._persisted(persist))  # type: ignore[misc]
                case LoadImage():
                    self._loads.append(effect)

    def _persisted(self, persist: Persist) -> None:
        self.disk = replay(persist.records, self.disk)
        self.node.persisted(persist.token)
        self._drain()


def step(walker: Walker, name: str, beat: int) -> None:
    """Let one thing happen, the same to both: what it is depends on what is durable, which both agree on."""
    held = walker.node.durable
    line = {"next": (1, 1), "reconnected": (2, 2), "stale": (1, 1)}.get(name, (1, 1))
    lsn = held.flush + walker.node.backlog + (5 if name == "gap" else 0)
    match name:
        case "next" | "gap" | "reconnected" | "stale":
            append = m.Append(Epoch(2), line[1], Lsn(lsn), held.flush, b"x" * (1 + beat % 7), beat)
            walker.hear(line[0], append)
        case "beat":
            walker.hear(1, m.Append(Epoch(2), 1, held.flush, held.flush, b"", beat))
        case "rival":
            walker.now += 2 * LEASE
            walker.hear(3, m.Solicit(epoch=Epoch(held.promised + 1), owner="b"))
        case "canvass":
            walker.hear(3, m.Canvass(epoch=Epoch(9), owner="b"))
        case "resign":
            walker.hear(1, m.Resign(epoch=Epoch(2), owner="a"))
        case "closed":
            walker.node.closed(Conn(1))
        case "sync":
            walker.sync()


RARE = ("gap", "reconnected", "beat", "rival", "canvass", "resign", "closed")


@settings(max_examples=500)
@example(names=["next", "sync", "next", "closed"])  # nothing is said on a connection that is gone
@given(names=st.lists(st.one_of(st.sampled_from(("next", "sync")), st.sampled_from(RARE)), max_size=25))
def test_both_ways_say_and_keep_the_same(names: list[str]) -> None:
    long, short = Walker(short=False), Walker(short=True)
    for beat, name in enumerate([*names, "sync"], 1):
        step(long, name, beat)
        step(short, name, beat)
        assert short.node.backlog == long.node.backlog
    assert short.said == long.said
    assert (short.node.durable, short.disk) == (long.node.durable, long.disk)


def test_most_appends_go_the_short_way() -> None:
    walker = Walker(short=True)
    for beat in range(1, 11):
        step(walker, "next", beat)
        step(walker, "sync", beat)
    assert walker.taken == 9  # the first one opens it


@pytest.mark.parametrize("name", ["rival", "resign"])
def test_nothing_is_acked_to_an_owner_whom_the_node_has_left_meanwhile(name: str) -> None:
    walker = Walker(short=True)
    for beat, what in enumerate(["next", "sync", "next", name], 1):
        step(walker, what, beat)
    assert walker.taken == 1
    said = len(walker.said)
    walker.sync()
    acks = [message.flush for _, message in walker.said[said:] if isinstance(message, m.Ack)]
    assert acks == ([] if name == "rival" else [walker.node.durable.flush])


def test_a_node_out_of_service_goes_no_way() -> None:
    walker = Walker(short=True)
    for beat, what in enumerate(["next", "sync", "next"], 1):
        step(walker, what, beat)
    walker.node.failed("the disk broke")
    assert not walker.node.extended(Conn(1))
    step(walker, "next", 4)
    assert walker.taken == 1
