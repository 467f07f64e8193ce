"""Ports, HTTP paths, environment variables and certificate roles shared by engine and operator."""

from typing import Final

LOG_PORT: Final = 7400
CONTROL_PORT: Final = 7401
PROBE_PORT: Final = 7402
POSTGRES_PORT: Final = 5432

# Control paths (HTTPS with client certificates, JSON). Probe paths (plain HTTP) are /healthz /readyz /metrics.
STATUS: Final = "/status"  # GET -> InstanceStatus | StorageStatus
EVENTS: Final = "/events"  # GET -> NDJSON of statuses: on change, and at least every EVENTS_HEARTBEAT_S
VOLUME: Final = "/volume"  # GET -> VolumeConfig in force; PUT VolumeConfig; 409 with a newer one if one is known
PROMOTE: Final = "/promote"  # POST {} -> 202; progress shows in status; idempotent
RESIGN: Final = "/resign"  # POST {} -> 202; the writer gives its epoch up and stops
DATABASE: Final = "/database"  # PUT DatabaseSpec -> 200 once true in SQL on the writer; 409 if not the writer
SETTINGS: Final = "/settings"  # PUT Settings -> 200 once reloaded, 202 before PostgreSQL is up; instances only
CLAIM: Final = "/claim"  # PUT Claim -> 200: take no more than that; storage nodes only
EVENTS_HEARTBEAT_S: Final = 0.5

# Environment of storage pods and instance pods.
ENV_CLUSTER: Final = "BOREALIS_CLUSTER"  # DBCluster name
ENV_CLUSTER_UID: Final = "BOREALIS_CLUSTER_UID"
ENV_ZONE: Final = "BOREALIS_ZONE"  # zone that the pod is bound to
ENV_TLS_DIR: Final = "BOREALIS_TLS_DIR"  # holds ca.crt, tls.crt, tls.key
ENV_VOLUME: Final = "BOREALIS_VOLUME"  # VolumeConfig as JSON, as known when the pod was made
ENV_DATA_DIR: Final = "BOREALIS_DATA_DIR"  # PVC of a storage pod, emptyDir of an instance pod
ENV_RUN_DIR: Final = "BOREALIS_RUN_DIR"  # unix sockets of an instance pod (short path)
ENV_MEMBER_ID: Final = "BOREALIS_MEMBER_ID"  # storage pods
ENV_FORMAT: Final = "BOREALIS_FORMAT"  # "true": an empty disk may become this member
ENV_LEASE_SECONDS: Final = "BOREALIS_LEASE_SECONDS"  # default DEFAULT_LEASE_S
ENV_ENGINE_VERSION: Final = "BOREALIS_ENGINE_VERSION"  # PostgreSQL major, instance pods
ENV_SETTINGS: Final = "BOREALIS_SETTINGS"  # Settings as JSON, as known when the instance pod was made
ENV_SERVER_TLS_DIR: Final = "BOREALIS_SERVER_TLS_DIR"  # certificate that PostgreSQL shows to clients; absent: no TLS
ENV_POD_NAME: Final = "POD_NAME"
ENV_POD_UID: Final = "POD_UID"
ENV_POD_IP: Final = "POD_IP"
ENV_PG_BIN: Final = "PG_BIN"  # directory of postgres, initdb, ...; overrides the search

DEFAULT_LEASE_S: Final = 4.0

# Roles in PostgreSQL that are Borealis's own, so no master user bears their names.
SUPERUSER: Final = "borealis_admin"  # the agent's; no password, its unix socket only
REPLICATION: Final = "borealis_replication"  # its members may replicate logically

ROLE_STORAGE: Final = "storage"
ROLE_INSTANCE: Final = "instance"
ROLE_OPERATOR: Final = "operator"


def role_uri(cluster_uid: str, role: str) -> str:
    """Give the SAN URI that a leaf certificate of `role` bears."""
    return f"borealis://{cluster_uid}/{role}"
