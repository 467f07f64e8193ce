"""The errors of the PostgreSQL side, by blame.

PostgresError
├── BinariesMissing    no usable PostgreSQL on this machine; the message names the remedy
├── PlaceUnusable      a directory from the environment cannot hold what PostgreSQL needs; names the variable
├── CommandFailed      initdb, postgres --single or pg_controldata ended badly
├── AttachFailed       image and log do not make a data directory
├── ServerDied         PostgreSQL ended, or did not come up in time
│   └── SessionLost    one session of the agent's was ended or cancelled; a new one tells whether PostgreSQL runs
├── FeedBroken         the log cannot be read from any storage node now
├── PromotionFailed    the instance cannot become the writer; it must attach again
├── ReignEnded         fenced, lease lost or resigned: this instance is the writer no longer
└── SpecInvalid        the database specification cannot be made true
"""

from enum import StrEnum


class Cause(StrEnum):
    """Why a reign, or an attempt at one, ended."""

    FENCED = "fenced"
    LEASE_LOST = "lease-lost"
    RESIGNED = "resigned"
    STOPPED = "stopped"  # the process was asked to
    SERVER_DIED = "server-died"  # PostgreSQL ended, or closed the log writer's stream
    UNACKNOWLEDGED = "unacknowledged-commit"  # became visible without a quorum
    NO_ROOM = "no-room"  # the storage nodes have no room for the log that PostgreSQL wrote
    OTHER = "other"


class PostgresError(Exception):
    """Any error of the PostgreSQL side."""


class BinariesMissing(PostgresError):
    """No usable PostgreSQL on this machine."""


class PlaceUnusable(PostgresError):
    """A directory from the environment cannot hold what PostgreSQL needs."""


class CommandFailed(PostgresError):
    """One of PostgreSQL's tools ended badly."""


class AttachFailed(PostgresError):
    """Image and log do not make a data directory."""


class ServerDied(PostgresError):
    """PostgreSQL ended, or did not come up in time."""


class SessionLost(ServerDied):
    """A session that was established has ended, or replay cancelled its statement."""


class FeedBroken(PostgresError):
    """The log cannot be read from any storage node now."""


class PromotionFailed(PostgresError):
    """The instance cannot become the writer; it must attach again."""


class ReignEnded(PostgresError):
    """Fenced, lease lost or resigned: this instance is the writer no longer."""

    def __init__(self, message: str, cause: Cause = Cause.OTHER) -> None:
        super().__init__(message)
        self.cause = cause


class SpecInvalid(PostgresError):
    """The database specification cannot be made true."""
