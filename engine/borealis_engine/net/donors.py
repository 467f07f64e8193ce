"""What damage is mended with: log from the other members.

Invariant: log comes from a member that serves it below its D, or bound to this node's own epoch, whose log is the same.
What only the first vouches for is the same here up to this node's own D; above that a CRC has to prove it.
"""

import logging
from typing import TYPE_CHECKING

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.journal import NOBODY
from borealis_engine.net.errors import NetError
from borealis_engine.net.requests import read_log_bytes
from borealis_engine.store.holes import Hole, Piece, fill

if TYPE_CHECKING:
    from borealis_engine.net.shell import Shell

log = logging.getLogger(__name__)


async def fetch_log(shell: "Shell", hole: Hole, live: Lsn, *, durable: Lsn, epoch: Epoch) -> list[Piece] | None:
    """Give what belongs into a hole, of which the log up to `live` counts; None if no member has it.

    `durable` is D as known here, `epoch` the last one whose entry is held.
    """
    size = hole.upto - hole.lsn
    if live <= hole.lsn:
        return fill(hole, bytes(size), live=live, same=True)
    for member in shell.node.config.members:
        if member.id == shell.node.member:
            continue
        for bound, same in ((NOBODY, live <= durable), (epoch, True)):
            try:
                data = await read_log_bytes(shell.endpoint, member, start=hole.lsn, upto=live, epoch=bound)
            except NetError as error:
                log.info("no log for a damaged place: %s", error, extra={"peer": member.name, "lsn": hole.lsn})
                continue
            pieces = fill(hole, data.ljust(size, b"\0"), live=live, same=same) if hole.lsn + len(data) == live else None
            if pieces is not None:
                return pieces
    return None
