"""Messages of the log protocol between a writer or candidate, storage nodes, and those who read the log.

Every message travels in an envelope (proto.frames) with the sender's configuration generation and identity; a node
that finds a mismatch answers `Refused(reason=CONFIG)` with its whole configuration. LSNs are byte positions, `upto`
and `end` are exclusive. What every commit makes is a NamedTuple here and in `effects`: a frozen dataclass costs more.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from borealis_engine.contract.volume import Epoch, Generation, Lsn

_NO_EPOCH: Final = Epoch(0)
_NO_LSN: Final = Lsn(0)


class Reason(IntEnum):
    """Why a node refused."""

    CONFIG = 1  # other generation, or not the member that the sender means: `config` holds the node's own
    EPOCH = 2  # a higher epoch is promised: the sender is fenced
    LEASE = 3  # (consent only) the owner was heard within the lease
    GAP = 4  # append or entry beyond the end of what the node holds
    STALE = 5  # append below the node's end, or from an older connection
    UNFIT = 6  # disk lost, failed or full: the node takes part in nothing
    UNKNOWN = 7  # asked for log or an image that the node does not hold
    FULL = 8  # log beyond the room of the node's disk: the node takes part, and takes more when there is room


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """One entry of the epoch history: `epoch` owns the bytes from `start` to the next entry's start.

    The first entry is always epoch 1, the bytes that came with image 0. `image` is set on it alone
    (hex SHA-256 of the blob; empty elsewhere).
    """

    epoch: Epoch
    start: Lsn
    image: str = ""


History: TypeAlias = tuple[Reign, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What a node holds durably: its history (empty: nothing chosen yet) and the end of its bytes; and what it knows.

    It knows of a D, the highest that the owner of `durable_epoch` told it, which may lie above its own `flush`.
    `image_here`: the blob of `history[0].image` can be read here.
    """

    history: History
    flush: Lsn
    durable_epoch: Epoch = _NO_EPOCH
    durable: Lsn = _NO_LSN
    image_here: bool = True

    @property
    def rank(self) -> tuple[int, int]:
        """Order in which recovery prefers donors: (last epoch written, flush)."""
        return (self.history[-1].epoch if self.history else 0, self.flush)

    @property
    def known(self) -> tuple[int, int]:
        """The D that the node knows, to be compared with ranks: (epoch, LSN)."""
        return (self.durable_epoch, self.durable)


# --- from writer, candidate or reader to a node ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvass:
    """Would you promise `epoch`? Binds nobody."""

    epoch: Epoch
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Solicit:
    """Promise `epoch` to `owner`."""

    epoch: Epoch
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Epoch-start entry: become a holder of `history`, whose last entry is the sender's reign, from `donor`.

    The node truncates at the common point, pulls what it lacks below the last entry's start, and image
    `history[0].image` if it lacks that, from `donor` (a member id that holds the entry already, or empty: the sender
    has uploaded the image and nothing else is needed), then persists the entry and answers `Begun`.
    The last `zeros` bytes below the last entry's start are zeros (padding after a segment switch): no donor holds them.
    `upto` above the last entry's start tells a late node to pull so far before it answers. `stream` numbers the
    sender's connections to this node, as in `Append`: what a network held back on an older one must not count.
    """

    epoch: Epoch
    history: History
    donor: str
    zeros: int = 0
    upto: int = 0
    stream: int = 0


class Append(NamedTuple):
    """Bytes of `epoch` at `lsn`, and the writer's D; without data a heartbeat or a D alone.

    `stream` orders the writer's connections to this node: an older one than the newest seen is refused.
    `beat` numbers the writer's sendings and comes back in the Ack, so that the lease runs from the time of sending;
    0 wants no Ack (a D alone).
    """

    epoch: Epoch
    stream: int
    lsn: Lsn
    durable: Lsn
    data: bytes
    beat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resign:
    """`owner` gives `epoch` up: consent need not wait for the lease.

    Named, because a rival may have been promised the same epoch elsewhere. `void`: it was never begun anywhere and
    never will be, so a node may take back its promise as if it had never given it.
    """

    epoch: Epoch
    owner: str
    void: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Send the log from `start`, as far as `upto` and what is held go, in `LogData` pieces; the last is short or empty.

    Bound to `epoch`: refused unless the node's last reign is that one (0: no binding, and nothing above D is sent).
    """

    epoch: Epoch
    start: Lsn
    upto: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Send the log from `start` up to D, and on as D grows, as `Feed`; ended by closing the connection.

    D may lie inside a record that recovery cuts off. So a reader replays only up to record ends, drops what it has
    beyond the last one when the connection ends (the node closes it when it truncates), and starts again from there.
    The first `Feed` comes at once, with the history (empty while the volume is not created), also when there is no
    byte to send. `start` 0 means from the first byte that is held; how an instance that knows nothing yet begins.
    A node whose history ends with an older epoch than the reader knows must be left for another: what it holds below
    its own D may be the part of a record that recovery has cut off, where the reader holds other bytes by now.
    """

    start: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class PutImage:
    """A piece of the blob `image` of `size` bytes, in order; `ImageStored` answers the last one."""

    image: str
    size: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GetImage:
    """Send the blob `image` as `ImageData` pieces."""

    image: str


# --- from a node -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """Answer to Canvass. `promised` is the highest epoch promised to anyone, also when refused."""

    epoch: Epoch
    granted: bool
    reason: Reason | None
    promised: Epoch
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Answer to Solicit, after the promise is durable; the position is of after the promise."""

    epoch: Epoch
    granted: bool
    promised: Epoch
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The entry of `epoch` is durable here, and the log ends at `flush`."""

    epoch: Epoch
    flush: Lsn


class Ack(NamedTuple):
    """Everything of `epoch` below `flush` is durable here (0: its entry is not held yet); `beat` was heard.

    `feeding`: readers follow the log here, so D is worth a message of its own.
    """

    epoch: Epoch
    flush: Lsn
    beat: int = 0
    feeding: bool = False


class RoomLeft(NamedTuple):
    """Log of `epoch` is taken here below `upto`, as far as the disk goes without its reserve (core.room).

    Sent to the owner on the connection of its appends, first and whenever `upto` moved by much.
    """

    epoch: Epoch
    upto: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class LogData:
    """A piece of the log; `end` of the read is reached when `last`."""

    lsn: Lsn
    data: bytes
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Bytes at `lsn` below `durable`; `history` is sent first and again whenever it changed, else None."""

    lsn: Lsn
    durable: Lsn
    data: bytes
    history: History | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStored:
    """The blob is whole, its digest right, and it is durable."""

    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageData:
    """A piece of a blob of `size` bytes."""

    image: str
    size: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The request was not done.

    With reason CONFIG it goes both ways: the one who knows the newer configuration tells the other, node or writer.
    """

    reason: Reason
    promised: Epoch
    generation: Generation
    config: str  # VolumeConfig JSON when reason is CONFIG, else empty
    message: str


Message: TypeAlias = (
    Canvass
    | Solicit
    | Begin
    | Append
    | Resign
    | Read
    | Subscribe
    | PutImage
    | GetImage
    | Consent
    | Promise
    | Begun
    | Ack
    | RoomLeft
    | LogData
    | Feed
    | ImageStored
    | ImageData
    | Refused
)


class Envelope(NamedTuple):
    """A message as it travels: under which configuration, from whom, to whom.

    `sender` and `recipient` are at most 16 ASCII characters: a member id, or an identity that an instance draws when
    its process starts. Requests to a node name it as recipient, so that a reused address is noticed; answers name
    nobody.
    """

    generation: Generation
    sender: str
    recipient: str
    message: Message
