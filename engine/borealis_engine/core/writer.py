"""Candidate and owner of one epoch, as a pure state machine: campaign, recovery, reign.

One object lives for one attempt to be the writer: it campaigns until elected, reigns until it is fenced, loses the
lease or resigns, and is then of no more use. The `owner` identity must be new for every object (never reused after a
restart): an epoch is promised to an identity.
"""

from borealis_engine.contract.volume import Epoch, Lsn, MemberId, VolumeConfig
from borealis_engine.core.effects import ImageExtent, WriterEffect
from borealis_engine.core.messages import Envelope
from borealis_engine.core.tail import Scan


class Writer:
    """A candidate, later the owner of an epoch. All times are seconds of one monotonic clock."""

    def __init__(
        self, *, config: VolumeConfig, owner: str, lease: float, scan: Scan, now: float, window: int = 64 * 1024 * 1024
    ) -> None:
        """Campaign at once. `scan` finds the last record end of a log's tail; `window` bounds memory, in bytes."""
        raise NotImplementedError

    # --- what the shell may look at -----------------------------------------------------------------------------

    @property
    def epoch(self) -> Epoch:
        """The epoch campaigned for or owned; 0 before the first promise is asked for."""
        raise NotImplementedError

    @property
    def durable(self) -> Lsn:
        """D; 0 until established."""
        raise NotImplementedError

    @property
    def end(self) -> Lsn:
        """Where the next offered byte belongs."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """How many bytes may be offered now; 0: stop reading from PostgreSQL until D advances."""
        raise NotImplementedError

    @property
    def lease_until(self) -> float:
        """When the lease runs out unless four members are heard: PostgreSQL must be silent from then on."""
        raise NotImplementedError

    # --- inputs -------------------------------------------------------------------------------------------------

    def connected(self, member: MemberId, now: float) -> None:
        """A connection to `member` is there; an older one counts as gone."""
        raise NotImplementedError

    def disconnected(self, member: MemberId, now: float) -> None:
        """The connection to `member` is gone."""
        raise NotImplementedError

    def receive(self, member: MemberId, envelope: Envelope, now: float) -> None:
        """Take a message from the connection to `member`."""
        raise NotImplementedError

    def offer(self, lsn: Lsn, data: bytes, now: float) -> None:
        """Take WAL of the own epoch, which begins at `end`; Misuse if not established or not contiguous."""
        raise NotImplementedError

    def image_made(self, image: str, extent: ImageExtent, now: float) -> None:
        """After NeedImage: image 0 exists here (uploading it is the shell's part)."""
        raise NotImplementedError

    def image_stored(self, member: MemberId, now: float) -> None:
        """`member` answered ImageStored to the upload (not needed if that came through `receive`)."""
        raise NotImplementedError

    def resign(self, now: float) -> None:
        """Give the campaign or the reign up, so that the next need not wait; PostgreSQL must be stopped already."""
        raise NotImplementedError

    def configure(self, config: VolumeConfig) -> None:
        """Keep the higher configuration."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Do what is due; call at `next_deadline()` or more often."""
        raise NotImplementedError

    def next_deadline(self) -> float:
        """When `tick` has something to do."""
        raise NotImplementedError

    def effects(self) -> list[WriterEffect]:
        """Drain what is to be done, in order."""
        raise NotImplementedError
