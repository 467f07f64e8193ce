"""PostgreSQL's settings in a comparison: what is set alike, and what differs and why.

Invariant: whatever differs between the running servers is found by asking them, not by believing this file; a setting
that differs without a reason given here is shown as such.
"""

from collections.abc import Mapping
from typing import Final

from benchmarks.pgbench import Database

CHECKPOINTS: Final[Mapping[str, str]] = {"checkpoint_timeout": "3600", "max_wal_size": "16384"}  # seconds, MB
SHARED: Final[Mapping[str, str]] = {
    "max_connections": "500",
    "max_worker_processes": "16",
    "max_prepared_transactions": "100",
    "wal_level": "replica",
    "password_encryption": "scram-sha-256",
    "timezone": "GMT",
    "log_timezone": "GMT",
    "default_text_search_config": "pg_catalog.simple",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "",
    "lc_messages": "C",
}
REASONS: Final[Mapping[str, str]] = {
    "fsync": "Borealis: the volume is durable, an instance's directory is thrown away; stock needs it",
    "full_page_writes": "Borealis: no directory is ever recovered in place; stock needs it against torn pages",
    "synchronous_standby_names": "who must confirm a commit: nobody, four of six receivers, the volume",
    "restart_after_crash": "Borealis: a directory whose server crashed is thrown away",
    "wal_receiver_timeout": "standbys only",
    "wal_receiver_status_interval": "standbys only",
    "wal_retrieve_retry_interval": "standbys only",
    "dynamic_shared_memory_type": "Borealis: in the directory; used by parallel queries only",
    "restore_command": "standbys only",
    "max_standby_archive_delay": "standbys only",
    "max_standby_streaming_delay": "standbys only",
    "wal_segment_size": "Borealis: fixed for a volume; larger segments are switched less often",
    "TimeZone": "the same by another name",
    "log_timezone": "the same by another name",
    "ssl": "Borealis offers TLS to clients; pgbench does not ask for it",
    "ssl_ca_file": "as ssl",
    "ssl_cert_file": "as ssl",
    "ssl_key_file": "as ssl",
}
_PLACES: Final = frozenset(
    (
        "application_name", "cluster_name", "config_file", "data_directory", "external_pid_file", "hba_file",
        "ident_file", "listen_addresses", "port", "unix_socket_directories", "unix_socket_permissions",
        "log_directory", "primary_conninfo", "transaction_deferrable", "data_directory_mode",
    )
)  # fmt: skip


def common(borealis: Mapping[str, str], checkpoints: Mapping[str, str] = CHECKPOINTS) -> dict[str, str]:
    """Give what stock servers are started with: Borealis's own choices wherever both can choose."""
    return {**SHARED, **checkpoints, "shared_buffers": borealis["shared_buffers"]}


def ask(database: Database) -> dict[str, str]:
    """Give all settings of a running server that this user may see."""
    with database.connect() as connection:
        rows = connection.execute("SELECT name, current_setting(name) FROM pg_settings").fetchall()
    return {str(name): str(value) for name, value in rows if name not in _PLACES}


def differences(servers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Give what differs as flat keys: the value of each configuration, and the reason."""
    names = sorted(set.intersection(*(set(each) for each in servers.values())))
    found = {}
    for name in names:
        values = {server: told[name] for server, told in servers.items()}
        if len(set(values.values())) > 1:
            shown = ", ".join(f"{server} {value or '(empty)'}" for server, value in values.items())
            found[f"settings.{name}"] = f"{shown}: {REASONS.get(name, 'no reason is known')}"
    return found
