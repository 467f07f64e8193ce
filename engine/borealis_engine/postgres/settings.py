"""PostgreSQL's configuration, rendered: DESIGN's disposable settings, fixed limits, and who may connect.

Pure. The `max_*` settings that a standby compares with its primary are Borealis's own: the same on every instance,
whatever its size, and they never shrink. What a user sets comes before what is Borealis's own, so that it could not
replace it even if nobody had filtered it. What durability rests on is on PostgreSQL's command line instead: there it
beats every file, so that no SQL changes it, not even a superuser's ALTER SYSTEM, and no commit is ever acknowledged
without the volume.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from borealis_engine.contract.names import SUPERUSER

STANDBY_NAME: Final = "volume"  # the log writer: application_name, slot, the one synchronous standby
AGENTS: Final = "agent"  # the map in pg_ident.conf
FEED_PORT: Final = 5433  # names the feed's unix socket beside PostgreSQL's own; nothing listens on TCP there
MIB: Final = 1 << 20
DEFAULT_BUFFERS: Final = 128 * MIB

LIMITS: Final[Mapping[str, str]] = {
    "max_connections": "500",
    "max_worker_processes": "16",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_prepared_transactions": "100",
    "max_locks_per_transaction": "64",
}
_LOG: Final[Mapping[str, str]] = {  # postgres.serverlog reads it
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "",
    "log_min_messages": "warning",
    "log_error_verbosity": "verbose",
    "lc_messages": "C",
}
DISPOSABLE: Final[Mapping[str, str]] = {  # on the command line
    "fsync": "off",
    "full_page_writes": "off",
    "restart_after_crash": "off",
    "synchronous_commit": "on",
    "synchronous_standby_names": STANDBY_NAME,
    "archive_mode": "off",
    "dynamic_shared_memory_type": "mmap",  # in the directory: nothing is left in /dev/shm, nor bound by its size
    "max_slot_wal_keep_size": "-1",  # it would bound the log writer's slot: postgres.replication bounds the others
    "wal_receiver_timeout": "10s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
    "recovery_target_timeline": "latest",
    "hot_standby": "on",
    "hot_standby_feedback": "off",
    "password_encryption": "scram-sha-256",
    **_LOG,
}
INITDB: Final[Mapping[str, str]] = {  # what initdb writes for image 0, which carries no postgresql.conf
    "datestyle": "iso, mdy",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_monetary": "C.UTF-8",
    "lc_numeric": "C.UTF-8",
    "lc_time": "C.UTF-8",
    "default_text_search_config": "pg_catalog.english",
}
DEFAULTS: Final[Mapping[str, str]] = {  # where PostgreSQL's own would be others; users may set them otherwise
    **INITDB,
    "wal_level": "replica",
    "log_checkpoints": "off",
    "ssl_min_protocol_version": "TLSv1.2",
}
SLOT_LIMIT: Final = "max_slot_wal_keep_size"  # users set it for their own slots
DEFAULT_SLOT_LIMIT: Final = 4096 * MIB
CERTIFICATE: Final = "server.crt"  # beside its key in the data directory
KEY: Final = "server.key"
NAME: Final = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", re.ASCII)  # one dot for an extension's
_SIZE: Final = re.compile(r"\s*([0-9]{1,9})\s*(kB|MB|GB|TB)?\s*")
_UNITS: Final = {"kB": 1 << 10, "MB": MIB, "GB": 1 << 30, "TB": 1 << 40}
_ESCAPES: Final = {"\\": r"\\", "'": "''", "\n": r"\n", "\r": r"\r"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What differs between instances."""

    name: str  # of the pod
    addresses: tuple[str, ...]  # to listen on
    port: int
    sockets: str  # directory of the unix sockets, PostgreSQL's and the feed's
    shared_buffers: int = DEFAULT_BUFFERS  # bytes


def listen_addresses(pod_ip: str) -> tuple[str, ...]:
    """Give the pod's address, and its loopback for port-forwarding unless the pod's own is a loopback address."""
    loopback = pod_ip.startswith("127.") or pod_ip == "::1"
    return (pod_ip,) if loopback else (pod_ip, "127.0.0.1")


def choose_buffers(memory_limit: int | None) -> int:
    """Give shared_buffers in bytes: a quarter of the container's memory, at least 32 MiB; 128 MiB if unlimited."""
    return DEFAULT_BUFFERS if memory_limit is None else max(32 * MIB, memory_limit // 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that decides what postgresql.conf says."""

    place: Place
    tls: bool = False  # the server's certificate and key are in the directory
    parameters: Mapping[str, str] = field(default_factory=dict)  # the user's, as far as PostgreSQL takes them
    read_only: bool = False  # for everybody but the agent
    urgent: bool = False  # a promotion is near: replay waits for no query

    @property
    def slot_limit(self) -> int:
        """How many bytes of log a slot may keep, but for the log writer's."""
        return parse_slot_limit(self.parameters.get(SLOT_LIMIT, "")) or DEFAULT_SLOT_LIMIT


def parse_slot_limit(value: str) -> int:
    """Return a size in bytes, in MB if it names no unit; 0 if it is none."""
    found = _SIZE.fullmatch(value)
    return int(found[1]) * _UNITS[found[2] or "MB"] if found else 0


def render_configuration(configuration: Configuration) -> str:
    """Give postgresql.conf."""
    place = configuration.place
    own = {
        "cluster_name": place.name,
        "listen_addresses": ",".join(place.addresses),
        "port": str(place.port),
        "unix_socket_directories": place.sockets,
        "unix_socket_permissions": "0700",
        "shared_buffers": f"{place.shared_buffers // 1024}kB",
        "primary_conninfo": f"host={place.sockets} port={FEED_PORT} user=feed sslmode=disable",
        "ssl": "off",
        SLOT_LIMIT: DISPOSABLE[SLOT_LIMIT],
    }
    if configuration.tls:
        own |= {"ssl": "on", "ssl_cert_file": CERTIFICATE, "ssl_key_file": KEY}
    if configuration.read_only:
        own |= {"default_transaction_read_only": "on", "autovacuum": "off"}
    if configuration.urgent:
        own |= {"max_standby_streaming_delay": "0", "max_standby_archive_delay": "0"}
    return render_settings({**DEFAULTS, **configuration.parameters, **LIMITS, **own})


def command_line(major: int) -> list[str]:
    """Give the arguments that postgres is started with, besides its directory."""
    known = {**DISPOSABLE, "allow_alter_system": "off"} if major >= 17 else DISPOSABLE
    return [part for name, value in known.items() for part in ("-c", f"{name}={value}")]


def render_settings(settings: Mapping[str, str]) -> str:
    """Give configuration lines; ValueError for a name that could be more than one.

    Values are quoted so that each stays one line (GUC_scanstr, misc/guc-file.l).
    """
    if strange := [name for name in settings if not NAME.fullmatch(name)]:
        raise ValueError(f"{strange[0]!r} is no name of a parameter")
    return "".join(
        f"{name} = '{''.join(_ESCAPES.get(each, each) for each in value)}'\n" for name, value in settings.items()
    )


def render_access() -> str:
    """Give pg_hba.conf: the agent by its private socket, everybody else by password, no physical replication.

    The agent is known by its operating system user: where it is root, PostgreSQL's own processes cannot connect as it.
    """
    return (
        f"local all         {SUPERUSER}     peer map={AGENTS}\n"
        f"local replication {SUPERUSER}     peer map={AGENTS}\n"
        f"local replication all            reject\n"
        f"local all         all            scram-sha-256\n"
        f"host  all         {SUPERUSER} all reject\n"
        f"host  replication all         all reject\n"
        f"host  all         all         all scram-sha-256\n"
    )


def render_identities(user: str) -> str:
    """Give pg_ident.conf: the operating system user that may connect as the superuser."""
    return f'{AGENTS} "{user}" {SUPERUSER}\n'
