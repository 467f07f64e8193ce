"""PostgreSQL's parameters: what users may set, what is Borealis's own and why, and how a set of them travels.

The operator refuses the names in `OWN`; whether the others exist and take their values only PostgreSQL knows, so each
instance says in `InstanceStatus.refused` what it does not take, and runs with the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from borealis_engine.contract.status import Wire

_DURABLE: Final = "durability is the volume's: it is the same whatever is set here"
_LIMIT: Final = "all instances must agree on it, so it is fixed for every size of instance"
_PLACE: Final = "it follows from where the instance runs"
_FOLLOW: Final = "readers and failover depend on it"
_LOGS: Final = "the agent reads PostgreSQL's log to notice a commit that no quorum holds"
_UNSAFE: Final = "it would let damaged data pass"
_TLS: Final = "the operator issues the server's certificate"
_SIZE: Final = "it follows from the memory of the instance class"

OWN: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "restart_after_crash",
            "wal_sync_method", "archive_mode", "archive_command", "archive_library",
            "archive_cleanup_command", "data_sync_retry", "recovery_init_sync_method",
        ),
        _DURABLE,
    ),
    **dict.fromkeys(
        (
            "max_connections", "max_worker_processes", "max_wal_senders", "max_replication_slots",
            "max_prepared_transactions", "max_locks_per_transaction", "reserved_connections",
            "superuser_reserved_connections",
        ),
        _LIMIT,
    ),
    **dict.fromkeys(
        (
            "cluster_name", "listen_addresses", "port", "unix_socket_directories", "unix_socket_group",
            "unix_socket_permissions", "data_directory", "config_file", "hba_file", "ident_file", "external_pid_file",
            "dynamic_shared_memory_type", "shared_memory_type", "bonjour", "bonjour_name", "event_source",
        ),
        _PLACE,
    ),
    **dict.fromkeys(
        (
            "primary_conninfo", "primary_slot_name", "restore_command", "recovery_end_command", "promote_trigger_file",
            "recovery_target", "recovery_target_action", "recovery_target_inclusive", "recovery_target_lsn",
            "recovery_target_name", "recovery_target_time", "recovery_target_timeline", "recovery_target_xid",
            "recovery_min_apply_delay", "hot_standby", "hot_standby_feedback", "wal_sender_timeout",
            "wal_receiver_timeout", "wal_receiver_status_interval", "wal_receiver_create_temp_slot",
            "wal_retrieve_retry_interval", "default_transaction_read_only", "transaction_read_only",
            "sync_replication_slots",
        ),
        _FOLLOW,
    ),
    **dict.fromkeys(
        (
            "log_destination", "logging_collector", "log_directory", "log_filename", "log_file_mode", "log_line_prefix",
            "log_min_messages", "log_error_verbosity", "lc_messages", "syslog_facility", "syslog_ident",
        ),
        _LOGS,
    ),
    **dict.fromkeys(
        (
            "allow_system_table_mods", "ignore_checksum_failure", "ignore_invalid_pages", "ignore_system_indexes",
            "zero_damaged_pages", "remove_temp_files_after_crash", "debug_deadlocks", "allow_in_place_tablespaces",
            "password_encryption",
        ),
        _UNSAFE,
    ),
    **dict.fromkeys(
        ("ssl", "ssl_ca_file", "ssl_cert_file", "ssl_crl_dir", "ssl_crl_file", "ssl_dh_params_file", "ssl_key_file",
         "ssl_passphrase_command", "ssl_passphrase_command_supports_reload"),
        _TLS,
    ),
    "shared_buffers": _SIZE,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Wire):
    """What the user set, for every instance of a cluster; `digest` is chosen by the operator and echoed in status."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False  # the volume is nearly full: new transactions may not write
    digest: str = ""
