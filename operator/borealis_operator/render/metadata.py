"""Metadata that all objects of a cluster share."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from borealis_operator.api.cluster import Cluster
from borealis_operator.api.names import API_VERSION, LABEL_CLUSTER, LABEL_MANAGED, MANAGER

Object: TypeAlias = dict[str, Any]


def owner_reference(cluster: Cluster) -> Object:
    """Point at the DBCluster, so that its end is the end of the object."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DBCluster",
        "name": cluster.name,
        "uid": cluster.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def render_metadata(
    cluster: Cluster,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Give name, namespace, labels and owner of an object of the cluster."""
    metadata: Object = {
        "name": name,
        "namespace": cluster.key.namespace,
        "labels": {LABEL_MANAGED: MANAGER, LABEL_CLUSTER: cluster.name, **(labels or {})},
        "ownerReferences": [owner_reference(cluster)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata
