"""One storage node's side of the log protocol, as a pure state machine.

Rules that live here: a promise is durable before it is answered and never broken; appends are contiguous; an ack
covers only durable bytes of the promised epoch; truncation and entry are one record; D is believed only in an epoch
whose entry is held; readers see nothing above D.

A shell gives messages and times in, drains `effects()` after every input and carries them out in order.
"""

from collections.abc import Mapping

from borealis_engine.contract.volume import Epoch, Lsn, MemberId, VolumeConfig
from borealis_engine.core.effects import Conn, ImageExtent, NodeEffect
from borealis_engine.core.journal import DurableState
from borealis_engine.core.messages import Envelope, History


class Node:
    """A storage node. All times are seconds of one monotonic clock."""

    def __init__(
        self,
        *,
        member: MemberId,
        config: VolumeConfig,
        durable: DurableState,
        images: Mapping[str, ImageExtent],
        lease: float,
        now: float,
        unfit: str = "",
    ) -> None:
        """Start from what the disk holds; `unfit` (e.g. disk lost) makes a node that refuses everything."""
        raise NotImplementedError

    # --- what the shell may look at -----------------------------------------------------------------------------

    @property
    def durable(self) -> DurableState:
        """What is on the disk, as far as `persisted` said."""
        raise NotImplementedError

    @property
    def config(self) -> VolumeConfig:
        """The configuration in force."""
        raise NotImplementedError

    @property
    def unfit(self) -> str:
        """Why the node is out of service; empty if it is not."""
        raise NotImplementedError

    @property
    def catching_up(self) -> bool:
        """Whether the writer or a pull says that log is missing here."""
        raise NotImplementedError

    @property
    def readable(self) -> Lsn:
        """Readers may be sent the log below this: D as far as it is held."""
        raise NotImplementedError

    @property
    def feed_history(self) -> History:
        """What readers may be told: reigns up to the one that announced D."""
        raise NotImplementedError

    def serves(self, epoch: Epoch) -> bool:
        """Whether a read bound to `epoch` may still be served (0: always); ask after reading each piece."""
        raise NotImplementedError

    # --- inputs -------------------------------------------------------------------------------------------------

    def receive(self, conn: Conn, envelope: Envelope, now: float) -> None:
        """Take a message from a connection (any peer: writer, candidate, member, reader)."""
        raise NotImplementedError

    def closed(self, conn: Conn) -> None:
        """The connection is gone: nothing is sent on it any more."""
        raise NotImplementedError

    def persisted(self, token: int, now: float) -> None:
        """The records of Persist(token) are durable."""
        raise NotImplementedError

    def failed(self, reason: str) -> None:
        """The disk failed or is full: the node acks nothing from here on."""
        raise NotImplementedError

    def pulled(self, token: int, lsn: Lsn, data: bytes, now: float) -> None:
        """Bytes that Pull or LoadImage asked for, in order."""
        raise NotImplementedError

    def pull_failed(self, token: int, now: float) -> None:
        """The donor refused, is gone, or ended early; asked again later by the node itself."""
        raise NotImplementedError

    def image_arrived(self, image: str, extent: ImageExtent, now: float) -> None:
        """The blob is durable here (after PullImage or StoreImage)."""
        raise NotImplementedError

    def image_failed(self, image: str, now: float) -> None:
        """PullImage came to nothing."""
        raise NotImplementedError

    def configure(self, config: VolumeConfig) -> None:
        """Keep the higher configuration."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Do what is due; call at `next_deadline()` or more often."""
        raise NotImplementedError

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None: not before the next input."""
        raise NotImplementedError

    def effects(self) -> list[NodeEffect]:
        """Drain what is to be done, in order."""
        raise NotImplementedError
