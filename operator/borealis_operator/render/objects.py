"""Small objects: the volume's ConfigMap, DBInstances, events, and the comparison that keeps a second pass silent."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from borealis_engine.contract.volume import VolumeConfig

from borealis_operator.api.cluster import Cluster
from borealis_operator.api.instance import DEFAULT_TIER
from borealis_operator.api.names import API_VERSION, FIELD_MANAGER, VOLUME_KEY, volume_name
from borealis_operator.render.metadata import Object, render_metadata


def render_volume(cluster: Cluster, config: VolumeConfig, *, resource_version: str) -> Object:
    """Give the ConfigMap of the volume configuration; an empty `resource_version` is for a new one."""
    metadata = render_metadata(cluster, volume_name(cluster.name))
    if resource_version:
        metadata["resourceVersion"] = resource_version
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {VOLUME_KEY: config.to_json()},
    }


def render_instance(cluster: Cluster, name: str) -> Object:
    """Give a DBInstance of the operator's own."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DBInstance",
        "metadata": render_metadata(cluster, name),
        "spec": {"clusterName": cluster.name, "promotionTier": DEFAULT_TIER},
    }


def render_event(involved: Object, name: str, reason: str, message: str, *, warning: bool, now: float) -> Object:
    """Give a core/v1 event about an object (apiVersion, kind, name, namespace, uid)."""
    at = rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": involved["namespace"]},
        "involvedObject": involved,
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message[:1024],
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
    }


def rfc3339(now: float) -> str:
    """Give seconds since 1970 as Kubernetes writes times."""
    return datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def holds(live: Any, wanted: Any) -> bool:
    """Whether every field of `wanted` is in `live`; lists must agree in length."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(k in live and holds(live[k], v) for k, v in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(live, list) or len(live) != len(wanted):
            return not wanted and not live
        return all(holds(a, b) for a, b in zip(live, wanted, strict=True))
    return bool(live == wanted)
