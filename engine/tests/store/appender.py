"""A process that appends for ever and says, after each append, up to where it is durable; made to be killed."""

import sys
from pathlib import Path

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import Entered, Logged
from borealis_engine.core.messages import Reign
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.journal import Sizes
from borealis_engine.store.member import open_store

START = Lsn(16 << 20)
SIZES = Sizes(file=256 * 1024, ahead=64 * 1024, step=16 * 1024)


def content(lsn: int, length: int) -> bytes:
    """Give bytes that can be told again from where they stand."""
    first = lsn // 8
    words = (number.to_bytes(8, "big") for number in range(first, first + length // 8 + 2))
    return b"".join(words)[lsn % 8 :][:length]


def main() -> None:
    """Append to the journal below the directory named on the command line until killed."""
    root = sys.argv[1]
    store = open_store(RealDisk(Path(root)), member="m", cluster_uid="c", allow_format=True, sizes=SIZES)
    journal = store.journal
    if not journal.state.history:
        journal.append([Entered(history=(Reign(epoch=Epoch(1), start=START, image="ab" * 32),), end=START)])
    length = 1
    while True:
        lsn, length = journal.state.flush, length * 7 % 9973
        journal.append([Logged(lsn=lsn, data=content(lsn, length))])
        sys.stdout.write(f"{lsn + length}\n")
        sys.stdout.flush()
        if journal.wants_fill:
            journal.fill()
