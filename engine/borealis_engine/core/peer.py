"""What a candidate or owner knows of one member of the volume."""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from borealis_engine.contract.volume import Epoch, Lsn, MemberId
from borealis_engine.core.journal import NOBODY, NOWHERE
from borealis_engine.core.messages import Begin, Position

NEVER = float("-inf")


class Stage(Enum):
    """How far a member has come in the reign, on the connection that is there now."""

    OUT = "out"  # has not promised the epoch (or must be asked where it stands)
    PROMISED = "promised"  # waits for Begin
    JOINING = "joining"  # Begin is sent
    STREAMING = "streaming"  # holds the entry and takes appends


@dataclass(slots=True, kw_only=True)
class Peer:
    """One member. What it holds durably (`acked`) survives its connections; the rest belongs to the one in use."""

    id: MemberId
    connected: bool = False
    stream: int = 0  # number of the connection
    stage: Stage = Stage.OUT
    asked_at: float = NEVER  # last Solicit or Begin
    position: Position | None = None  # as told with the last promise
    begin: Begin | None = None  # the one it works on
    acked: Lsn = NOWHERE  # of the epoch; 0 before its entry is durable there
    next: Lsn = NOWHERE  # next byte to send
    told: Lsn = NOWHERE  # D as sent last
    feeding: bool = True  # readers follow the log there, or may, for all that is known
    beats: deque[tuple[int, float]] = field(default_factory=deque)  # unanswered (beat, sent at)
    upto: Lsn | None = None  # the log for which it has room; None: it has not said. Of the epoch
    beat_at: float = NEVER  # last beat sent
    heard: float = NEVER  # when the newest message that it answered was *sent*
    outbid: Epoch = NOBODY  # a higher epoch that it promised
    stored: bool = False  # holds the image that this reign made
    generation: int = 0  # of the configuration under which it acked this epoch last
    joiner: bool = False  # counts for nothing before it holds the entry

    def enlist(self) -> None:
        """Start over on a new reign."""
        self.acked, self.heard, self.outbid, self.stored = NOWHERE, NEVER, NOBODY, False
        self.generation = 0
        self.begin, self.position, self.upto = None, None, None
        self.drop()

    def drop(self) -> None:
        """Forget what belonged to the connection."""
        self.stage, self.asked_at, self.beat_at, self.told = Stage.OUT, NEVER, NEVER, NOWHERE
        self.feeding = True
        self.beats.clear()

    def answered(self, beat: int) -> None:
        """`beat` was heard there: the lease runs from when it was sent."""
        while self.beats and self.beats[0][0] <= beat:
            self.heard = max(self.heard, self.beats.popleft()[1])
