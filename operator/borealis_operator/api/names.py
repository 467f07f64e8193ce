"""Names, labels and annotations: every string by which objects of one cluster find each other.

All names derive from the cluster's name alone, so two passes never disagree on them.
"""

from typing import Final

GROUP: Final = "borealis.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

MANAGER: Final = "borealis"
FIELD_MANAGER: Final = "borealis-operator"
FINALIZER: Final = f"{GROUP}/operator"

LABEL_MANAGED: Final = "app.kubernetes.io/managed-by"
LABEL_CLUSTER: Final = f"{GROUP}/cluster"
LABEL_COMPONENT: Final = f"{GROUP}/component"
LABEL_INSTANCE: Final = f"{GROUP}/instance"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_SERVICE: Final = "kubernetes.io/service-name"
LABEL_SLICE_MANAGED: Final = "endpointslice.kubernetes.io/managed-by"
LABEL_ZONE: Final = "topology.kubernetes.io/zone"
LABEL_HOSTNAME: Final = "kubernetes.io/hostname"

ANNOTATION_EPOCH: Final = f"{GROUP}/epoch"
ANNOTATION_ZONE: Final = f"{GROUP}/zone"
ANNOTATION_MEMBER: Final = f"{GROUP}/member"  # on a claim: the identity that its disk may be formatted as
ANNOTATION_NODE: Final = "volume.kubernetes.io/selected-node"  # on a claim, by the scheduler

STORAGE: Final = "storage"
INSTANCE: Final = "instance"
WRITER: Final = "writer"
READER: Final = "reader"

TLS_ROLES: Final = ("storage", "instance", "operator")
SERVER: Final = "server"  # no role: the certificate that PostgreSQL shows to clients
VOLUME_KEY: Final = "volume"  # key in the volume ConfigMap


def storage_name(cluster: str, index: int) -> str:
    """Name of a storage pod and of its PVC."""
    return f"{cluster}-storage-{index}"


def instance_name(cluster: str, number: int) -> str:
    """Name of a DBInstance that the operator makes; numbers start at 1."""
    return f"{cluster}-instance-{number}"


def volume_name(cluster: str) -> str:
    """Name of the ConfigMap that holds the volume configuration."""
    return f"{cluster}-volume"


def master_name(cluster: str) -> str:
    """Name of the Secret by which applications connect as the master user."""
    return f"{cluster}-master"


def ca_name(cluster: str) -> str:
    """Name of the Secret with the cluster's certificate authority."""
    return f"{cluster}-ca"


def tls_name(cluster: str, role: str) -> str:
    """Name of the Secret with the leaf certificate of `role`, or with the one of PostgreSQL (`SERVER`)."""
    return f"{cluster}-tls-{role}"


def server_ca_name(cluster: str) -> str:
    """Name of the Secret by which clients check PostgreSQL's certificate; it holds nothing that is secret."""
    return f"{cluster}-server-ca"


def writer_service(cluster: str) -> str:
    """Name of the writer endpoint: a Service and its EndpointSlice."""
    return cluster


def reader_service(cluster: str) -> str:
    """Name of the reader endpoint: a Service and its EndpointSlice."""
    return f"{cluster}-ro"


def cluster_selector(cluster: str) -> str:
    """Label selector of everything that the operator made for a cluster."""
    return f"{LABEL_MANAGED}={MANAGER},{LABEL_CLUSTER}={cluster}"


def readers_selector(cluster: str) -> str:
    """Label selector of a cluster's reader pods, for the scale subresource."""
    return f"{LABEL_CLUSTER}={cluster},{LABEL_COMPONENT}={INSTANCE},{LABEL_ROLE}={READER}"
