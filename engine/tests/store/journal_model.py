"""A journal's worth of random records, and the bytes that they should leave behind."""

import random
from dataclasses import dataclass, field, replace

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import (
    EMPTY,
    Committed,
    DurableState,
    Entered,
    Logged,
    Promised,
    Record,
    Resigned,
    apply,
)
from borealis_engine.core.messages import History, Reign

START = Lsn(16 << 20)


@dataclass(slots=True)
class Model:
    """What the disk should hold: the state and the log's bytes from `state.start` on."""

    state: DurableState = EMPTY
    log: bytes = b""
    images: int = field(default=0)

    def after(self, records: list[Record]) -> "Model":
        """Give the model with the records added."""
        model = replace(self)
        for record in records:
            if isinstance(record, Entered):
                same = model.state.history[:1] == record.history[:1]
                model.log = model.log[: record.end - record.history[0].start] if same else b""
            if isinstance(record, Logged):
                model.log += record.data
            model.state = apply(model.state, record)
        return model


def random_batch(state: DurableState, chance: random.Random) -> list[Record]:
    """Give a few records that fit `state`, mostly log bytes."""
    records: list[Record] = []
    for _ in range(chance.randint(1, 4)):
        record = _record(state, chance)
        records.append(record)
        state = apply(state, record)
    return records


def _record(state: DurableState, chance: random.Random) -> Record:
    kinds = ["promise", "resign", "enter"] + ["commit"] * 2 + ["log"] * 8
    kind = chance.choice(kinds) if state.history else "enter"
    if kind == "promise":
        return Promised(epoch=Epoch(state.promised + chance.randint(1, 3)), owner=f"owner-{chance.randint(0, 99)}")
    if kind == "resign":
        return Resigned(epoch=state.promised)
    if kind == "commit":
        low = max(state.committed, state.start)
        return Committed(epoch=state.epoch, lsn=Lsn(chance.randint(low, state.flush)))
    if kind == "log":
        return Logged(lsn=state.flush, data=chance.randbytes(chance.choice([1, 30, 700, 3000])))
    return _entered(state, chance)


def _entered(state: DurableState, chance: random.Random) -> Entered:
    if not state.history or (state.committed == 0 and chance.random() < 0.3):
        image = f"{chance.getrandbits(256):064x}"
        return Entered(history=(Reign(epoch=Epoch(1), start=START, image=image),), end=START)
    end = Lsn(chance.randint(max(state.committed, START), state.flush))
    kept: History = tuple(r for i, r in enumerate(state.history) if i == 0 or r.start < end)
    return Entered(history=(*kept, Reign(epoch=Epoch(state.history[-1].epoch + 1), start=end)), end=end)
