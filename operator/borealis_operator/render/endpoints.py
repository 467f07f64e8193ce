"""The two endpoints: Services without selectors, and the EndpointSlices that the operator writes for them.

A slice bears the epoch in which it holds, and is only ever replaced by compare-and-swap.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from borealis_engine.contract.names import POSTGRES_PORT

from borealis_operator.api.cluster import Cluster
from borealis_operator.api.names import (
    ANNOTATION_EPOCH,
    FIELD_MANAGER,
    LABEL_SERVICE,
    LABEL_SLICE_MANAGED,
)
from borealis_operator.render.metadata import Object, render_metadata

PORT_NAME = "postgresql"


def render_service(cluster: Cluster, name: str) -> Object:
    """Give the Service of one endpoint."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": render_metadata(cluster, name),
        "spec": {
            "type": "ClusterIP",
            "ports": [{"name": PORT_NAME, "port": POSTGRES_PORT, "protocol": "TCP", "targetPort": POSTGRES_PORT}],
        },
    }


def render_slice(
    cluster: Cluster, name: str, addresses: tuple[str, ...], epoch: int, *, live: Mapping[str, Any] | None
) -> Object:
    """Give the EndpointSlice of one endpoint, to be put in place of `live`; its address family never changes."""
    labels = {LABEL_SERVICE: name, LABEL_SLICE_MANAGED: FIELD_MANAGER}
    metadata = render_metadata(cluster, name, labels=labels, annotations={ANNOTATION_EPOCH: str(epoch)})
    if live:
        metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": live["addressType"] if live else f"IPv{ip_address(addresses[0]).version}",
        "endpoints": [
            {"addresses": [a], "conditions": {"ready": True, "serving": True, "terminating": False}} for a in addresses
        ],
        "ports": [{"name": PORT_NAME, "port": POSTGRES_PORT, "protocol": "TCP"}],
    }


def read_slice(live: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Give addresses and epoch of a live slice."""
    addresses = tuple(a for endpoint in live.get("endpoints") or () for a in endpoint.get("addresses", ()))
    epoch = (live["metadata"].get("annotations") or {}).get(ANNOTATION_EPOCH, "0")
    return addresses, int(epoch) if epoch.isdigit() else 0
