"""Known bugs, one rule broken each, that the simulator must find: the proof that it looks.

A mutant replaces functions of the real state machines for the time of a block. Each is a bug that somebody made.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from borealis_engine.contract.volume import Epoch, Generation, Lsn, MemberId, VolumeConfig
from borealis_engine.core import campaign, custody, quorum, reign, writer
from borealis_engine.core.drain import Drain
from borealis_engine.core.effects import Conn, Send
from borealis_engine.core.history import common_point
from borealis_engine.core.joining import Joining
from borealis_engine.core.journal import DurableState, Entered, Logged, Promised, Record, apply
from borealis_engine.core.messages import (
    Ack,
    Append,
    Begin,
    Begun,
    Envelope,
    History,
    Position,
    Promise,
    Resign,
    Solicit,
)
from borealis_engine.core.node import Node
from borealis_engine.core.peer import Peer
from borealis_engine.core.pipeline import Pipeline
from borealis_engine.core.recovery import Recovery
from borealis_engine.core.serving import Serving
from borealis_engine.core.steady import Steady
from borealis_engine.core.tail import LogEnd
from borealis_engine.core.tenure import Tenure
from borealis_engine.core.testing.damage_mutants import DAMAGE
from borealis_engine.core.testing.mutant import Mutant
from borealis_engine.core.testing.operator import Operator
from borealis_engine.core.testing.storage import Storage
from borealis_engine.core.watermark import Watermark


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
    return Lsn(min(quorum.covered(peer.acked for peer in peers) for peers in self._sixes_of_peers))


def _believe_anyone(self: Watermark, epoch: Any, lsn: Lsn, held: DurableState, now: float) -> None:
    self.epoch, self.lsn = max((self.epoch, self.lsn), (epoch, lsn))


def _no_scan(self: Recovery) -> None:
    self.end = LogEnd(end=self._flush)


def _whole_log(self: Serving) -> Lsn:
    return self._pipe.held.flush


# --- one message taken for another ------------------------------------------------------------------------------

_RECEIVE: Final = Node.receive
_IS_OWNER: Final = Node._is_owner
_RESIGN: Final = Node._resign
_PROMISE: Final = campaign.Campaign._promise


def _of_any_generation(self: Node, conn: Conn, envelope: Envelope, now: float) -> None:
    _RECEIVE(self, conn, envelope._replace(generation=self.config.generation), now)


def _of_any_older_reign(self: Node, conn: Conn, epoch: Epoch) -> bool:
    return epoch < self._pipe.seen.promised or _IS_OWNER(self, conn, epoch)


def _by_anybody(self: Node, resign: Resign) -> None:
    _RESIGN(self, replace(resign, owner=self._pipe.seen.owner))


def _of_any_round(self: campaign.Campaign, peer: Peer, promise: Promise, now: float) -> None:
    _PROMISE(self, peer, replace(promise, epoch=self.epoch), now)


# --- said too early -----------------------------------------------------------------------------------------------

_ACK: Final = Node._ack
_SEND: Final = reign.Reign._send
_PROMISED: Final = reign.Reign.promised


def _ack_data_only(self: Node, conn: Conn) -> None:
    beat = self._beats.get(conn)
    if beat is not None:
        _ACK(self, conn, beat)


def _promise_at_once(self: Node, conn: Conn, solicit: Solicit, now: float) -> None:
    _SOLICIT(self, conn, solicit, now)
    if (solicit.epoch, solicit.owner) == (self._pipe.seen.promised, self._pipe.seen.owner):
        self._promise(conn, solicit.epoch, granted=True)


def _begun_at_once(self: Joining, begin: Begin) -> None:
    self._begin = None
    self._emit(Send(conn=self._conn, message=Begun(epoch=begin.epoch, flush=self._pipe.seen.flush)))


def _send_with_all_as_durable(self: reign.Reign, peer: Peer, lsn: Lsn, data: bytes, *, beat: int) -> None:
    durable = self.durable
    self.durable = max(durable, lsn)
    _SEND(self, peer, lsn, data, beat=beat)
    self.durable = durable


def _count_what_it_had(self: reign.Reign, peer: Peer, position: Position, now: float) -> None:
    peer.acked = max(peer.acked, position.flush)
    _PROMISED(self, peer, position, now)


# --- recovery and truncation ------------------------------------------------------------------------------------

_ENTER: Final = Joining._enter


def _enter_then_cut(self: Joining, entry: Entered) -> None:
    seen = self._pipe.seen
    if seen.history and seen.history[0] == entry.history[0] and entry.end < seen.flush:
        self._pipe.add(Entered(history=entry.history, end=seen.flush))
    _ENTER(self, entry)


def _tell_no_reader(self: Joining, entry: Entered) -> None:
    self._pipe.add(entry)


def _least_advanced(promises: Mapping[MemberId, Position]) -> MemberId | None:
    able = [member for member in promises if promises[member].history]
    return min(able, key=lambda member: promises[member].rank, default=None)


def _longest(self: Position) -> tuple[int, int]:
    return (1 if self.history else 0, self.flush)


_COMMON: Final = common_point


def _mine_alone(mine: History, flush: Lsn, theirs: History) -> Lsn | None:
    common = _COMMON(mine, flush, theirs)
    return flush if common is not None and mine == theirs[: len(mine)] else common


# --- time ---------------------------------------------------------------------------------------------------------

_ACKNOWLEDGED: Final = reign.Reign.acknowledged
_TENURE: Final = Tenure.__init__
_SOLICIT_ALL: Final = campaign.Campaign._solicit


def _hear_on_receipt(self: reign.Reign, peer: Peer, ack: Ack, now: float) -> None:
    peer.beats = deque((beat, now if beat <= ack.beat else sent) for beat, sent in peer.beats)
    _ACKNOWLEDGED(self, peer, ack, now)


def _heard_nobody(self: Tenure, *, lease: float, now: float) -> None:
    _TENURE(self, lease=lease, now=float("-inf"))


def _solicit_again(self: campaign.Campaign, now: float) -> None:
    if self._highest == self.epoch:
        self._highest = Epoch(self._highest - 1)
    _SOLICIT_ALL(self, now)


def _nothing(*_: object) -> None:
    return


def _always(*_: object) -> bool:
    return True


def _three(sixes: quorum.Sixes, agreed: Collection[MemberId]) -> bool:
    return all(len(six.intersection(agreed)) >= 3 for six in sixes)


def _overtake(self: Drain[Any]) -> None:
    while effects := self._effects():
        self._carry_out(effects)


# --- membership -----------------------------------------------------------------------------------------------------


def _old_six(config: VolumeConfig) -> quorum.Sixes:
    return quorum.sixes(config)[:1]


def _new_six(config: VolumeConfig) -> quorum.Sixes:
    return quorum.sixes(config)[-1:]


def _nobody_joins(config: VolumeConfig) -> MemberId | None:
    return None


def _append_of_any_generation(self: Node, conn: Conn, envelope: Envelope, now: float) -> None:
    if isinstance(envelope.message, Append):
        envelope = envelope._replace(generation=self.config.generation)
    _RECEIVE(self, conn, envelope, now)


def _current_with_any_log(self: Node) -> bool:
    return self._joining.active


def _current_with_what_is_queued(self: Node) -> bool:
    return self._joining.active or self._in_step is None


def _forget(self: Storage, config: VolumeConfig) -> None:
    if config.version > self.node.config.version:
        self.input(self.node.configure, config)


def _as_if_current(joiner: Storage, generation: Generation) -> bool:
    return True


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
    Mutant(name="the generation of a message ignored", patches=((Node, "receive", _of_any_generation),)),
    Mutant(name="messages of an older reign taken", patches=((Node, "_is_owner", _of_any_older_reign),)),
    Mutant(name="a resignation that names another owner", patches=((Node, "_resign", _by_anybody),)),
    Mutant(name="a promise of an earlier round", patches=((campaign.Campaign, "_promise", _of_any_round),)),
    Mutant(
        name="a heartbeat's ack before the bytes are durable",
        patches=((Node, "_ack", _ack_what_is_queued), (Node, "_ack_synced", _ack_data_only)),
    ),
    Mutant(name="a promise before it is durable", patches=((Node, "_solicit", _promise_at_once),)),
    Mutant(name="Begun before the entry is durable", patches=((Joining, "_finish", _begun_at_once),)),
    Mutant(name="D sent before the quorum", patches=((reign.Reign, "_send", _send_with_all_as_durable),)),
    Mutant(name="a member counted that has not caught up", patches=((reign.Reign, "promised", _count_what_it_had),)),
    Mutant(name="an entry and its truncation apart", patches=((Joining, "_enter", _enter_then_cut),)),
    Mutant(name="feeds that go on over a truncation", patches=((Joining, "_enter", _tell_no_reader),)),
    Mutant(name="a common point by the own history", patches=((custody, "common_point", _mine_alone),)),
    Mutant(name="the least advanced log carried on", patches=((writer, "choose_donor", _least_advanced),)),
    Mutant(name="the longest log carried on, of whatever epoch", patches=((Position, "rank", _Property(_longest)),)),
    Mutant(name="the short way open after something else came", patches=((Steady, "revoke", _nothing),)),
    Mutant(name="a lease from the receipt of answers", patches=((reign.Reign, "acknowledged", _hear_on_receipt),)),
    Mutant(name="a lease longer than the nodes'", patches=((reign, "LEASE_SHARE", 1.5),)),
    Mutant(name="a lease that a restart forgets", patches=((Tenure, "__init__", _heard_nobody),)),
    Mutant(name="an epoch solicited twice", patches=((campaign.Campaign, "_solicit", _solicit_again),)),
    Mutant(name="D by the old six alone while joint", patches=((reign, "sixes", _old_six),)),
    Mutant(name="D by the new six alone while joint", patches=((reign, "sixes", _new_six),)),
    Mutant(
        name="elected by the old six alone while joint",
        patches=((campaign, "sixes", _old_six), (reign, "sixes", _old_six)),
    ),
    Mutant(
        name="elected by the new six alone while joint",
        patches=((campaign, "sixes", _new_six), (reign, "sixes", _new_six)),
    ),
    Mutant(
        name="a joiner counted before it has caught up",
        patches=((campaign, "joiner", _nobody_joins), (reign, "joiner", _nobody_joins)),
    ),
    Mutant(
        name="a joiner begins before its elders know of it",
        patches=((reign.Reign, "_in_force", _Property(_always)),),
    ),
    Mutant(
        name="a joiner current with any log",
        patches=((Node, "catching_up", _Property(_current_with_any_log)),),
    ),
    Mutant(
        name="a joiner current before its log is durable",
        patches=((Node, "catching_up", _Property(_current_with_what_is_queued)),),
    ),
    Mutant(
        name="a member before it has caught up", patches=((Operator, "sees_current", staticmethod(_as_if_current)),)
    ),
    *DAMAGE,
    Mutant(name="effects carried out in the middle of older ones", patches=((Drain, "run", _overtake),)),
    Mutant(name="the generation of an append ignored", patches=((Node, "receive", _append_of_any_generation),)),
    Mutant(name="a configuration that a restart forgets", patches=((Storage, "configure", _forget),)),
)
