"""Tables for `kubectl get`: columns of a kind, cells of an object.

Column paths are the JSON path subset that CRDs use: fields, escaped dots, `[0]`, `[*]` and `[?(@.a=="b")]`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from borealis_local.machinery.resources import Resource

Object = Mapping[str, Any]
_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)                                        # .field, .a\.b
      | \[(?P<index>-?\d+|\*)\]                                               # [0] [*]
      | \['(?P<quoted>[^']*)'\]
      | \[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]         # [?(@.type=="Ready")]
    """,
    re.VERBOSE,
)


def walk(value: Any, path: str) -> Iterator[Any]:
    """Give everything that a JSON path leads to."""
    found = [value]
    for step in _STEP.finditer(path.strip("{}")):
        found = [v for part in found for v in _follow(part, step)]
    yield from (v for v in found if v is not None)


def _follow(part: Any, step: re.Match[str]) -> list[Any]:
    name = step["field"] or step["quoted"]
    if name is not None:
        plain = name.replace("\\.", ".")
        return [part[plain]] if isinstance(part, Mapping) and plain in part else []
    if not isinstance(part, list):
        return []
    if step["key"] is not None:
        return [v for v in part if str(next(walk(v, "." + step["key"]), "")) == step["value"]]
    if step["index"] == "*":
        return list(part)
    index = int(step["index"])
    return [part[index]] if -len(part) <= index < len(part) else []


def age(stamp: str, now: datetime) -> str:
    """Give the time since an RFC 3339 stamp as kubectl shortens it (`45s`, `3m10s`, `2h`, `5d`)."""
    try:
        then = datetime.fromisoformat(stamp)
    except ValueError:
        return "<unknown>"
    seconds = max(0, int((now - then).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if days < 2 else f"{days}d"


def cells(resource: Resource, obj: Object, now: datetime) -> list[Any]:
    """Give the row of an object, one cell per column."""
    row: list[Any] = []
    for column in resource.columns:
        computed = _COMPUTED.get((resource.kind, column.name))
        if computed is not None:
            row.append(computed(obj))
            continue
        found = list(walk(obj, column.path))
        if column.type == "date" and found:
            row.append(age(str(found[0]), now))
        elif not found:
            row.append("<none>" if not resource.custom else None)
        else:
            row.append(found[0] if len(found) == 1 else ",".join(str(v) for v in found))
    return row


def table(
    resource: Resource, objects: Sequence[Object], *, version: str, now: datetime, include: str = "Metadata"
) -> dict[str, Any]:
    """Give a meta.k8s.io Table; `include` is None, Metadata or Object, as the query parameter says."""
    definitions = [
        {
            "name": c.name,
            "type": c.type,
            "format": c.format,
            "description": c.description or f"{c.name} of the {resource.kind}",
            "priority": c.priority,
        }
        for c in resource.columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions,
        "rows": [{"cells": cells(resource, o, now), **_attached(o, include)} for o in objects],
    }


def _attached(obj: Object, include: str) -> dict[str, Any]:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
    return {"object": partial}


# --- cells that no path gives -----------------------------------------------------------------------------------


def pod_status(pod: Object) -> str:
    """Give the word that kubectl shows for a pod: its phase, or why it is not running."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for container in status.get("containerStatuses") or []:
        state = container.get("state", {})
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason")
        if reason:
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _pod_ready(pod: Object) -> str:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return f"{sum(bool(s.get('ready')) for s in statuses)}/{len(pod['spec']['containers'])}"


def _pod_restarts(pod: Object) -> int:
    return sum(s.get("restartCount", 0) for s in pod.get("status", {}).get("containerStatuses") or [])


def _node_status(node: Object) -> str:
    conditions = {c["type"]: c["status"] for c in node.get("status", {}).get("conditions", [])}
    words = ["Ready" if conditions.get("Ready") == "True" else "NotReady"]
    if node.get("spec", {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _service_ports(service: Object) -> str:
    ports = service.get("spec", {}).get("ports") or []
    return ",".join(f"{p['port']}/{p.get('protocol', 'TCP')}" for p in ports) or "<none>"


def _selector(service: Object) -> str:
    pairs = service.get("spec", {}).get("selector") or {}
    return ",".join(f"{k}={v}" for k, v in pairs.items()) or "<none>"


def _data(obj: Object) -> int:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


def _slice_ports(slice_: Object) -> str:
    return ",".join(str(p.get("port")) for p in slice_.get("ports") or []) or "<unset>"


def _slice_endpoints(slice_: Object) -> str:
    found = [a for e in slice_.get("endpoints") or [] for a in e.get("addresses", [])]
    return ",".join(found) or "<unset>"


def _validations(policy: Object) -> int:
    return len(policy.get("spec", {}).get("validations") or [])


def _event_object(event: Object) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


_COMPUTED: Mapping[tuple[str, str], Callable[[Object], Any]] = {
    ("Pod", "Ready"): _pod_ready,
    ("Pod", "Status"): pod_status,
    ("Pod", "Restarts"): _pod_restarts,
    ("Node", "Status"): _node_status,
    ("Service", "Port(s)"): _service_ports,
    ("Service", "Selector"): _selector,
    ("Secret", "Data"): _data,
    ("ConfigMap", "Data"): _data,
    ("EndpointSlice", "Ports"): _slice_ports,
    ("EndpointSlice", "Endpoints"): _slice_endpoints,
    ("Event", "Object"): _event_object,
    ("ValidatingAdmissionPolicy", "Validations"): _validations,
}
