"""Known bugs, one rule broken each, that the simulator must find: the proof that it looks.

A mutant replaces functions of the real state machines for the time of a block. Each is a bug that somebody made.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core import campaign, custody, quorum, reign
from borealis_engine.core.effects import Conn, Send
from borealis_engine.core.journal import DurableState, Logged, Promised, Record, apply
from borealis_engine.core.messages import Ack, Append, History, Solicit
from borealis_engine.core.node import Node
from borealis_engine.core.pipeline import Pipeline
from borealis_engine.core.recovery import Recovery
from borealis_engine.core.serving import Serving
from borealis_engine.core.steady import Steady
from borealis_engine.core.tail import LogEnd
from borealis_engine.core.tenure import Tenure
from borealis_engine.core.watermark import Watermark


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug: which attributes are replaced by what."""

    name: str
    patches: tuple[tuple[Any, str, object], ...]

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Have the bug for the time of the block."""
        with ExitStack() as undo:
            for owner, name, replacement in self.patches:
                undo.callback(setattr, owner, name, owner.__dict__[name])
                setattr(owner, name, replacement)
            yield


def _ack_what_is_queued(self: Node, conn: Conn, beat: int) -> None:
    seen = self._pipe.seen
    flush = seen.flush if seen.epoch == seen.promised else Lsn(0)
    self._effects.append(Send(conn=conn, message=Ack(epoch=seen.promised, flush=flush, beat=beat)))


def _ack_any_epoch(self: Node, conn: Conn, beat: int) -> None:
    held = self._pipe.held
    self._effects.append(Send(conn=conn, message=Ack(epoch=self._pipe.seen.promised, flush=held.flush, beat=beat)))


_ADD: Final = Pipeline.add


def _promise_in_memory(self: Pipeline, record: Record) -> None:
    if isinstance(record, Promised):
        self.seen = apply(self.seen, record)
    else:
        _ADD(self, record)


_SOLICIT: Final = Node._solicit


def _promise_twice(self: Node, conn: Conn, solicit: Solicit, now: float) -> None:
    if solicit.epoch == self._pipe.seen.promised:
        self._promise(conn, solicit.epoch, granted=True)
    else:
        _SOLICIT(self, conn, solicit, now)


def _keep_everything(mine: History, flush: Lsn, theirs: History) -> Lsn | None:
    return flush if mine and mine[0] == theirs[0] else None


def _take_anything(self: Node, conn: Conn, append: Append) -> bool:
    state = self._pipe.seen
    if state.epoch != append.epoch:
        return False
    self._pipe.add(Logged(lsn=state.flush, data=append.data))
    self._beats[conn] = append.beat
    self._pipe.then(lambda: self._ack_synced(conn))
    return True


def _extend_for_anybody(
    self: Steady, conn: Conn, epoch: Epoch, stream: int, lsn: Lsn, durable: Lsn, beat: int, size: int, now: float
) -> DurableState | None:
    self._beats[conn] = beat
    return self._pipe.extend(size) if lsn == self._pipe.held.flush else None


def _extend_anywhere(
    self: Steady, conn: Conn, epoch: Epoch, stream: int, lsn: Lsn, durable: Lsn, beat: int, size: int, now: float
) -> DurableState | None:
    self._beats[conn] = beat
    return self._pipe.extend(size) if (conn, epoch, stream) == self._holder else None


def _third(values: Any) -> int:
    ordered = sorted(values, reverse=True)
    return ordered[2] if len(ordered) > 2 else 0


def _cover_old_acks(self: reign.Reign) -> Lsn:
    return Lsn(quorum.covered(peer.acked for peer in self._peers))


def _believe_anyone(self: Watermark, epoch: Any, lsn: Lsn, held: DurableState, now: float) -> None:
    self.epoch, self.lsn = max((self.epoch, self.lsn), (epoch, lsn))


def _no_scan(self: Recovery) -> None:
    self.end = LogEnd(end=self._flush)


def _whole_log(self: Serving) -> Lsn:
    return self._pipe.held.flush


def _always(*_: object) -> bool:
    return True


def _three(count: int) -> bool:
    return count >= 3


_Property: Final[Callable[..., Any]] = property

MUTANTS: Final = (
    Mutant(name="an ack before the bytes are durable", patches=((Node, "_ack", _ack_what_is_queued),)),
    Mutant(name="a promise that is not persisted", patches=((Pipeline, "add", _promise_in_memory),)),
    Mutant(name="one epoch promised to two", patches=((Node, "_solicit", _promise_twice),)),
    Mutant(name="three promises elect", patches=((campaign, "elects", _three),)),
    Mutant(name="no truncation", patches=((custody, "common_point", _keep_everything),)),
    Mutant(name="an append that is not contiguous", patches=((Node, "_store", _take_anything),)),
    Mutant(name="the short way open to anybody", patches=((Steady, "extend", _extend_for_anybody),)),
    Mutant(name="the short way for an append that is not contiguous", patches=((Steady, "extend", _extend_anywhere),)),
    Mutant(name="D on three", patches=((reign, "covered", _third),)),
    Mutant(
        name="acks from before the entry move D",
        patches=((Node, "_ack", _ack_any_epoch), (reign.Reign, "_covered", _cover_old_acks)),
    ),
    Mutant(name="D believed without the entry", patches=((Watermark, "announce", _believe_anyone),)),
    Mutant(name="a log that ends inside a record", patches=((Recovery, "_judge", _no_scan),)),
    Mutant(name="readers above D", patches=((Serving, "readable", _Property(_whole_log)),)),
    Mutant(name="promises within the lease", patches=((Tenure, "over", _always),)),
)
