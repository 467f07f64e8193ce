"""What the state machines ask of their shells: plain values, drained by `effects()` and carried out in order.

Effects of one drain may be carried out together, but a `Persist` is one write and one sync, answered by `persisted`;
what depends on it comes out of that call, so an answer cannot precede durability.
"""

from dataclasses import dataclass
from typing import NamedTuple, NewType, TypeAlias

from borealis_engine.contract.volume import Epoch, Lsn, MemberId, VolumeConfig
from borealis_engine.core.journal import Record
from borealis_engine.core.messages import History, Message, PutImage

Conn = NewType("Conn", int)  # a connection, numbered by the shell; never reused


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExtent:
    """The log bytes of epoch 1 that came with an image: [start, end)."""

    start: Lsn
    end: Lsn


# --- of a storage node -------------------------------------------------------------------------------------------


class Persist(NamedTuple):
    """Append `records` to the journal with one write and one sync, then call `persisted(token)`.

    One is out at a time; what arrives meanwhile goes into the next.
    """

    token: int
    records: tuple[Record, ...]


class Send(NamedTuple):
    """Send `message` on `conn`; dropped if it is closed."""

    conn: Conn
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close `conn`: its peer broke the protocol."""

    conn: Conn
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """`Read(epoch, start, upto)` from member `donor`; give pieces to `pulled(token, ...)`, or call `pull_failed`."""

    token: int
    donor: MemberId
    epoch: Epoch
    start: Lsn
    upto: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadImage:
    """The same from the blob of `image` here: log bytes [start, upto) that came with it."""

    token: int
    image: str
    start: Lsn
    upto: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPull:
    """What `token` asked for is not wanted any more (pieces that still come are ignored)."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullImage:
    """Fetch the blob with `GetImage` from `donor`, make it durable, call `image_arrived` or `image_failed`."""

    image: str
    donor: MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreImage:
    """Take this piece of an upload; when the blob is whole, its digest right and durable: `image_arrived`."""

    conn: Conn
    piece: PutImage


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeLog:
    """Send [start, upto) as `LogData`.

    Ask `Node.serves(epoch)` after reading each piece; close `conn` instead of sending if it is False.
    """

    conn: Conn
    epoch: Epoch
    start: Lsn
    upto: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeFeed:
    """Send the log from `start` up to `Node.readable` as `Feed`, and on at each `Readable`, until `conn` closes."""

    conn: Conn
    start: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeImage:
    """Send the blob as `ImageData`."""

    conn: Conn
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """`Node.readable` or `Node.feed_history` changed."""

    upto: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncated:
    """Log above `end` is void: close every feed that was sent more.

    That may be: D may lie inside a record, which recovery then cut off.
    """

    end: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfService:
    """The node answers nothing but refusals from here on: report `reason`."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """A writer knows a newer configuration: make it durable, then give it to `Node.configure`."""

    config: VolumeConfig


NodeEffect: TypeAlias = (
    Persist | Send | Close | Pull | LoadImage | CancelPull | PullImage | StoreImage
    | ServeLog | ServeFeed | ServeImage | Readable | Truncated | OutOfService | Adopt
)  # fmt: skip


# --- of a candidate and writer ---------------------------------------------------------------------------------


class SendTo(NamedTuple):
    """Send `message` to `member` on its connection, with the member's id as recipient."""

    member: MemberId
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """Close the connection to `member` (it misbehaved or fell silent) and make a new one."""

    member: MemberId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A round of the campaign came to nothing, and why; the next one starts by itself at `until`.

    `outlived`: an owner lives who is not the one that was thought dead, so there is nothing to campaign for.
    """

    reason: str
    until: float
    outlived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedImage:
    """Elected `epoch` over an empty volume: make image 0, call `image_made`, upload it to every member.

    Call `image_stored(member)` for each that has it.
    """

    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Elected:
    """The reign is established: four members hold its entry and end at `end` (S = E = D).

    WAL of `epoch` begins there.
    """

    epoch: Epoch
    history: History
    end: Lsn


class DurableAdvanced(NamedTuple):
    """D is now `lsn`: everything below is on a write quorum."""

    lsn: Lsn


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """Final: members that leave no quorum have promised a higher epoch. Stop PostgreSQL at once."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLost:
    """Final: no quorum was heard for the lease. Stop PostgreSQL at once."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigLearned:
    """A member holds a newer configuration: give it to `configure` and to whoever keeps connections."""

    config: VolumeConfig


WriterEffect: TypeAlias = (
    SendTo | Reconnect | Waiting | NeedImage | Elected | DurableAdvanced | Fenced | LeaseLost | ConfigLearned
)
