"""A storage node's state machine with a disk that syncs when told to."""

from dataclasses import replace

from borealis_engine.contract.volume import Epoch, Generation, Lsn, Member, MemberId, VolumeConfig
from borealis_engine.core import messages as m
from borealis_engine.core.effects import Conn, ImageExtent, NodeEffect, Persist, Send
from borealis_engine.core.journal import EMPTY, DurableState
from borealis_engine.core.node import Node

CONFIG = VolumeConfig(
    cluster_uid="u",
    generation=Generation(3),
    revision=1,
    sealed=True,
    members=tuple(Member(id=MemberId(f"m{i}"), name=f"n{i}", zone="z", address="") for i in range(6)),
)
EXTENT = ImageExtent(start=Lsn(1000), end=Lsn(1100))
PREFIX = m.Reign(epoch=Epoch(1), start=Lsn(1000), image="img")
SECOND = (PREFIX, m.Reign(epoch=Epoch(2), start=Lsn(1100)))
LEASE = 4.0


class Harness:
    """A node, a disk that syncs when told to, and what came out."""

    def __init__(self, durable: DurableState = EMPTY, *, images: dict[str, ImageExtent] | None = None) -> None:
        self.now = 100.0
        self.images = {"img": EXTENT} if images is None else images
        self.boot(durable)

    def boot(self, durable: DurableState) -> None:
        self.node = Node(
            member=MemberId("m0"), config=CONFIG, durable=durable, images=self.images, lease=LEASE, now=self.now
        )
        self.persist: Persist | None = None

    def give(self, message: m.Message, *, conn: int = 1, generation: int = 3, to: str = "m0") -> list[NodeEffect]:
        envelope = m.Envelope(generation=Generation(generation), sender="s", recipient=to, message=message)
        self.node.receive(Conn(conn), envelope, self.now)
        return self.drain()

    def drain(self) -> list[NodeEffect]:
        effects = self.node.effects()
        for effect in effects:
            if isinstance(effect, Persist):
                assert self.persist is None
                self.persist = effect
        return effects

    def sync(self) -> list[NodeEffect]:
        out: list[NodeEffect] = []
        while self.persist is not None:
            token, self.persist = self.persist.token, None
            self.node.persisted(token)
            out += self.drain()
        return out

    def ask(self, message: m.Message, *, conn: int = 1) -> list[m.Message]:
        return sent(self.give(message, conn=conn) + self.sync())

    def promise(self, epoch: int, owner: str = "a") -> m.Promise:
        [answer] = self.ask(m.Solicit(epoch=Epoch(epoch), owner=owner))
        assert isinstance(answer, m.Promise)
        return answer

    def append(self, epoch: int, lsn: int, data: bytes = b"", *, durable: int = 0, stream: int = 1) -> m.Append:
        return m.Append(epoch=Epoch(epoch), stream=stream, lsn=Lsn(lsn), durable=Lsn(durable), data=data, beat=7)


def sent(effects: list[NodeEffect]) -> list[m.Message]:
    return [e.message for e in effects if isinstance(e, Send)]


def reason(answers: list[m.Message]) -> m.Reason:
    [answer] = answers
    assert isinstance(answer, m.Refused)
    return answer.reason


def begin(history: m.History, **more: object) -> m.Begin:
    return replace(m.Begin(epoch=history[-1].epoch, history=history, donor=""), **more)  # type: ignore[arg-type]
