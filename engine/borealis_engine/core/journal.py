"""What a storage node makes durable: the records of its journal, and the state that they add up to.

The journal is the node's only durable truth beside image blobs. Nothing is overwritten: a truncation and the entry
of a new epoch are one record, so a crash leaves both or neither. `apply` is the one place that says what a record
means; node, store and simulator all use it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias, assert_never

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.history import epoch_of, held
from borealis_engine.core.messages import History, Position

NOBODY: Final = Epoch(0)
NOWHERE: Final = Lsn(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """`epoch` is promised to `owner`; no lower epoch is acked from here on."""

    epoch: Epoch
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resigned:
    """The owner of the promised `epoch` gave it up."""

    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """The promise of `epoch` was given for nothing and is void: the one before it is in force again."""

    epoch: Epoch
    promised: Epoch
    owner: str
    resigned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """The log ends at `end` (bytes above are void) and goes on along `history`, whose last reign counts once reached.

    If `history` begins with another image than before, all bytes are void and `end` is its start.
    """

    history: History
    end: Lsn


class Logged(NamedTuple):
    """Bytes at `lsn`, which is where the log ended."""

    lsn: Lsn
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """D as announced in `epoch`; it may lie above the end of the log here."""

    epoch: Epoch
    lsn: Lsn


Record: TypeAlias = Promised | Resigned | Withdrawn | Entered | Logged | Committed


class DurableState(NamedTuple):
    """What the records add up to, log bytes apart."""

    promised: Epoch = NOBODY
    owner: str = ""
    resigned: bool = False
    history: History = ()  # as entered: its last reigns may lie beyond `flush`, see `held`
    flush: Lsn = NOWHERE  # end of the log
    committed_epoch: Epoch = NOBODY
    committed: Lsn = NOWHERE  # D as it was announced, also above `flush`: `Watermark.here` says how much of it is here

    @property
    def start(self) -> Lsn:
        """Where the log begins: the image's first segment."""
        return self.history[0].start if self.history else Lsn(0)

    @property
    def held(self) -> History:
        """The reigns that the log has reached; what the node tells others."""
        return held(self.history, self.flush)

    @property
    def epoch(self) -> Epoch:
        """Last epoch whose entry is held."""
        history = self.history
        if history and history[-1].start <= self.flush:
            return history[-1].epoch
        return epoch_of(self.held)

    @property
    def position(self) -> Position:
        """Reigns reached, and the end of the log."""
        return Position(history=self.held, flush=self.flush)

    def extended(self, size: int) -> "DurableState":
        """Give the state with `size` more bytes of log: each append comes by, and `_replace` costs more."""
        promised, owner, resigned, history, flush, committed_epoch, committed = self
        return DurableState(promised, owner, resigned, history, Lsn(flush + size), committed_epoch, committed)


EMPTY = DurableState()


def apply(state: DurableState, record: Record) -> DurableState:
    """Give the state after `record`; SafetyViolated if the record does not fit (a bug or a corrupt journal)."""
    match record:
        case Logged(lsn=lsn, data=data):
            if lsn != state.flush:
                raise SafetyViolated(f"bytes at {lsn} on a log that ends at {state.flush}")
            return state.extended(len(data))
        case Committed(epoch=epoch, lsn=lsn):
            if (epoch, lsn) < (state.committed_epoch, state.committed):
                raise SafetyViolated(f"D {lsn} of epoch {epoch} after {state.committed} of {state.committed_epoch}")
            return state._replace(committed_epoch=epoch, committed=lsn)
        case Promised(epoch=epoch, owner=owner):
            if epoch <= state.promised:
                raise SafetyViolated(f"promise of {epoch} after {state.promised}")
            return state._replace(promised=epoch, owner=owner, resigned=False)
        case Resigned(epoch=epoch):
            return state._replace(resigned=state.resigned or epoch == state.promised)
        case Withdrawn(epoch=epoch, promised=promised, owner=owner, resigned=resigned):
            if epoch != state.promised or promised >= epoch or state.epoch >= epoch:
                raise SafetyViolated(f"promise of {epoch} withdrawn after {state.promised}, log of {state.epoch}")
            return state._replace(promised=promised, owner=owner, resigned=resigned)
        case Entered(history=history, end=end):
            return _enter(state, history, end)
    assert_never(record)


def _enter(state: DurableState, history: History, end: Lsn) -> DurableState:
    same = bool(state.history) and state.history[0] == history[0]
    if end != history[0].start and not (same and state.start <= end <= state.flush):
        raise SafetyViolated(f"truncation at {end} of a log that ends at {state.flush}")
    # D may lie inside a record that recovery cut off. It stays as it was told: `Watermark.here` counts no bytes of a
    # later reign by it, and an election must hear of it.
    return state._replace(history=history, flush=end, committed=state.committed if same else NOWHERE)


def replay(records: Iterable[Record], state: DurableState = EMPTY) -> DurableState:
    """Give the state after all `records`, from `state` (of a file that begins with one, else empty)."""
    for record in records:
        state = apply(state, record)
    return state
