"""What agents and storage nodes say of themselves over `/status` and `/events`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, TypeVar

T = TypeVar("T", bound="Wire")
DISK_FULL: Final = "disk full"  # in a storage node's message: the one failure that another disk of its size would share

NO_ROOM: Final = "no room for log: nothing but the reserve is left"  # likewise, of a node that takes part


class Role(StrEnum):
    """What an instance is now."""

    STARTING = "starting"  # no image to attach to yet
    ATTACHING = "attaching"
    READER = "reader"
    PROMOTING = "promoting"
    WRITER = "writer"
    STOPPED = "stopped"  # PostgreSQL is down; the instance begins anew, or the process is about to exit


class StorageState(StrEnum):
    """What a storage node is now."""

    EMPTY = "empty"  # formatted, holds no log yet
    CATCHING_UP = "catching-up"
    CURRENT = "current"
    DISK_LOST = "disk-lost"  # empty disk although this member was formatted before: counts for nothing
    DISK_IN_USE = "disk-in-use"  # another process holds the disk: takes part in nothing until that one has ended
    FAILED = "failed"  # failed write, fsync, CRC, or full: acks nothing
    RETIRED = "retired"  # another member has taken its place: counts for nothing, and its disk may go


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A frozen value with a JSON form."""

    def to_json(self) -> str:
        """One line of JSON; keys are the field names."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls: type[T], text: str | bytes) -> T:
        """Parse `to_json`, ignoring keys of newer versions."""
        raw: dict[str, Any] = json.loads(text)
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in raw.items() if k in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus(Wire):
    """State of one instance. LSNs are byte positions; 0 means unknown."""

    name: str  # pod name
    role: Role
    ready: bool = False  # accepts client connections in its role
    epoch: int = 0  # owned (writer, promoting) or followed (reader)
    receive_lsn: int = 0
    replay_lsn: int = 0
    durable_lsn: int = 0  # D as known here
    lag_seconds: float | None = None
    generation: int = 0
    revision: int = 0
    pg_version: str = ""
    database: str = ""  # digest of the DatabaseSpec last applied by this writer
    access: str = ""  # why the master user's Secret does not let in, or a changed one is not in force; empty: nothing
    extensions: Mapping[str, str] = field(default_factory=dict)  # by place: why it cannot be used, empty if it can
    settings: str = ""  # digest of the Settings in force; parameters that need a restart may still wait for it
    refused: Mapping[str, str] = field(default_factory=dict)  # parameters that PostgreSQL does not take, and why
    pending_restart: tuple[str, ...] = ()  # parameters that this PostgreSQL takes at its next start only
    tls: bool = False  # clients can connect by TLS
    slow: Mapping[str, int] = field(default_factory=dict)  # members behind this writer, and for how many seconds
    full: str = ""  # why this writer is read-only: the storage nodes have too little room; empty if it is not
    message: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "role", Role(self.role))
        object.__setattr__(self, "pending_restart", tuple(self.pending_restart))


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStatus(Wire):
    """State of one storage node."""

    name: str
    member: str
    state: StorageState
    promised: int = 0  # highest epoch promised
    epoch: int = 0  # last epoch whose start entry it holds
    flush_lsn: int = 0
    durable_lsn: int = 0
    log_start: int = 0  # first byte of the log that it keeps
    has_image: bool = False
    generation: int = 0
    revision: int = 0
    bytes_used: int = 0
    bytes_free: int = 0
    claim: int = 0  # bytes that it may take, as last told; 0: it was not told since it started
    scrubbed_at: float = (
        0.0  # when the last round over every byte of the disk ended, in seconds since 1970; 0: none yet
    )
    damaged: int = 0  # damaged files that are not mended yet
    repaired: int = 0  # places that were mended since the process started
    message: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", StorageState(self.state))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Wire):
    """How many bytes a storage node may take: many provisioners of disks do not see to that."""

    size: int  # bytes, above 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSpec(Wire):
    """Master user, extensions, and the first database, which a writer makes once in the life of a volume."""

    master_username: str
    master_password: str
    database_name: str  # "" for none
    digest: str  # chosen by the operator, echoed in InstanceStatus.database
    extensions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # names by database

    def __post_init__(self) -> None:
        object.__setattr__(self, "extensions", {at: tuple(names) for at, names in self.extensions.items()})
