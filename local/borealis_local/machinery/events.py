"""Events have two faces, core/v1 and events.k8s.io/v1, over one store; here one becomes the other."""

from collections.abc import Mapping
from typing import Any

from borealis_local.machinery.resources import Resource

_NEW_TO_CORE = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_CORE_TO_NEW = {v: k for k, v in _NEW_TO_CORE.items()}


def _is_new(resource: Resource) -> bool:
    return (resource.group, resource.kind) == ("events.k8s.io", "Event")


def to_core(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    """Give an object as it is stored; only events.k8s.io Events change."""
    if not _is_new(resource):
        return obj
    renamed = {_NEW_TO_CORE.get(k, k): v for k, v in obj.items()}
    return {**renamed, "lastTimestamp": renamed.get("lastTimestamp") or renamed.get("eventTime")}


def from_core(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Give a stored object as `resource` shows it."""
    if obj.get("apiVersion") == resource.api_version and not _is_new(resource):
        return dict(obj)
    if not _is_new(resource):
        return {**obj, "apiVersion": resource.api_version}
    renamed = {_CORE_TO_NEW.get(k, k): v for k, v in obj.items()}
    return {**renamed, "apiVersion": resource.api_version}
