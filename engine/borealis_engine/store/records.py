"""How the journal's records lie in frames: log bytes raw, everything else as JSON (there is little of it).

Each file begins with a State frame, so that a file can be understood without the ones before it.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias, assert_never

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import Committed, DurableState, Entered, Logged, Promised, Record, Resigned, Withdrawn
from borealis_engine.core.messages import History, Reign
from borealis_engine.store.disk import Buffer
from borealis_engine.store.errors import DiskCorrupt
from borealis_engine.store.frames import Frame, render_frame

STATE: Final = 1
PROMISED: Final = 2
RESIGNED: Final = 3
ENTERED: Final = 4
LOGGED: Final = 5
COMMITTED: Final = 6
WITHDRAWN: Final = 7
PIECE: Final = 1 << 20  # bytes of log in one frame

Part: TypeAlias = tuple[int, int, Buffer]  # kind, LSN and payload of one frame


def render_batch(nonce: bytes, batch: int, parts: Sequence[Part]) -> list[Buffer]:
    """Give the frames of one batch as buffers; log bytes are not copied."""
    buffers: list[Buffer] = []
    for number, (kind, lsn, payload) in enumerate(parts, 1):
        last = number == len(parts)
        buffers += render_frame(nonce, kind=kind, last=last, batch=batch, lsn=lsn, payload=payload)
    return buffers


def render_state(nonce: bytes, batch: int, state: DurableState) -> list[Buffer]:
    """Give the batch that a file begins with."""
    payload = _dump(
        {
            "promised": state.promised,
            "owner": state.owner,
            "resigned": state.resigned,
            "history": _history_out(state.history),
            "flush": state.flush,
            "committedEpoch": state.committed_epoch,
            "committed": state.committed,
        }
    )
    return list(render_frame(nonce, kind=STATE, last=True, batch=batch, lsn=state.flush, payload=payload))


def parse_record(frame: Frame) -> Record:
    """Read a frame of any kind but STATE; DiskCorrupt if it is none that is known here."""
    if frame.kind == LOGGED:
        return Logged(lsn=frame.lsn, data=bytes(frame.payload))
    try:
        raw = json.loads(bytes(frame.payload))
        return _record(frame.kind, raw)
    except (KeyError, TypeError, ValueError) as error:
        raise DiskCorrupt(f"unreadable record of kind {frame.kind} at {frame.offset}: {error!r}") from error


def parse_state(frame: Frame) -> DurableState:
    """Read a STATE frame; DiskCorrupt for anything else."""
    if frame.kind != STATE:
        raise DiskCorrupt(f"a journal file begins with a record of kind {frame.kind}")
    try:
        raw = json.loads(bytes(frame.payload))
        return DurableState(
            promised=Epoch(raw["promised"]),
            owner=raw["owner"],
            resigned=raw["resigned"],
            history=_history_in(raw["history"]),
            flush=Lsn(raw["flush"]),
            committed_epoch=Epoch(raw["committedEpoch"]),
            committed=Lsn(raw["committed"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DiskCorrupt(f"unreadable state at {frame.offset}: {error!r}") from error


def parts(record: Record) -> Iterator[Part]:
    """Give the frames of a record: one, or several for long log bytes."""
    match record:
        case Logged(lsn=lsn, data=data) if len(data) <= PIECE:
            yield LOGGED, lsn, data
        case Logged(lsn=lsn, data=data):
            view = memoryview(data)
            for at in range(0, len(data), PIECE):
                yield LOGGED, lsn + at, view[at : at + PIECE]
        case Committed(epoch=epoch, lsn=lsn):
            yield COMMITTED, lsn, _dump({"epoch": epoch, "lsn": lsn})
        case Promised(epoch=epoch, owner=owner):
            yield PROMISED, 0, _dump({"epoch": epoch, "owner": owner})
        case Resigned(epoch=epoch):
            yield RESIGNED, 0, _dump({"epoch": epoch})
        case Withdrawn(epoch=epoch, promised=promised, owner=owner, resigned=resigned):
            payload: dict[str, object] = {"epoch": epoch, "promised": promised, "owner": owner, "resigned": resigned}
            yield WITHDRAWN, 0, _dump(payload)
        case Entered(history=history, end=end):
            yield ENTERED, end, _dump({"history": _history_out(history), "end": end})
        case _:
            assert_never(record)


def _record(kind: int, raw: dict[str, Any]) -> Record:
    match kind:
        case 2:
            return Promised(epoch=Epoch(raw["epoch"]), owner=str(raw["owner"]))
        case 3:
            return Resigned(epoch=Epoch(raw["epoch"]))
        case 4:
            return Entered(history=_history_in(raw["history"]), end=Lsn(raw["end"]))
        case 7:
            return Withdrawn(
                epoch=Epoch(raw["epoch"]),
                promised=Epoch(raw["promised"]),
                owner=str(raw["owner"]),
                resigned=bool(raw["resigned"]),
            )
        case 6:
            return Committed(epoch=Epoch(raw["epoch"]), lsn=Lsn(raw["lsn"]))
    raise ValueError(f"unknown kind {kind}")


def _dump(raw: dict[str, object]) -> bytes:
    return json.dumps(raw, separators=(",", ":")).encode()


def _history_out(history: History) -> list[list[object]]:
    return [[reign.epoch, reign.start, reign.image] for reign in history]


def _history_in(raw: list[list[Any]]) -> History:
    return tuple(Reign(epoch=Epoch(e), start=Lsn(s), image=str(i)) for e, s, i in raw)
