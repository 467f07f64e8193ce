"""What Kubernetes fills in, and what it forbids to change, for its own kinds; only what Borealis and its tests meet."""

import base64
from collections.abc import Mapping
from typing import Any

from borealis_local.errors import Cause
from borealis_local.machinery.resources import dig

Object = dict[str, Any]
DEFAULT_CLASS = "standard"
PVC_PROTECTION = "kubernetes.io/pvc-protection"


def fill(kind: str, obj: Object) -> Object:
    """Give a built-in object with Kubernetes' defaults."""
    filler = _FILLERS.get(kind)
    return filler(obj) if filler else obj


def _under(obj: Object, key: str, **defaults: Any) -> Object:
    return {**obj, key: {**defaults, **(obj.get(key) or {})}}


def _pod(obj: Object) -> Object:
    obj = _under(
        obj,
        "spec",
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        enableServiceLinks=True,
    )
    spec = obj["spec"]
    for key in ("containers", "initContainers"):
        if key in spec:
            spec[key] = [_container(c) for c in spec[key]]
    return _under(obj, "status", phase="Pending", qosClass="BestEffort")


def _container(container: Object) -> Object:
    filled = {"terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "IfNotPresent", **container}
    if "ports" in filled:
        filled["ports"] = [{"protocol": "TCP", **p} for p in filled["ports"]]
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        if name in filled:
            filled[name] = _probe(filled[name])
    return filled


def _probe(probe: Object) -> Object:
    filled = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3, **probe}
    if "httpGet" in filled:
        filled["httpGet"] = {"path": "/", "scheme": "HTTP", **filled["httpGet"]}
    return filled


def _service(obj: Object) -> Object:
    obj = _under(obj, "spec", type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    ports = obj["spec"].get("ports") or []
    obj["spec"]["ports"] = [{"protocol": "TCP", "targetPort": p["port"], **p} for p in ports]
    return _under(obj, "status", loadBalancer={})


def _secret(obj: Object) -> Object:
    plain = obj.get("stringData") or {}
    data = {**(obj.get("data") or {}), **{k: base64.b64encode(v.encode()).decode() for k, v in plain.items()}}
    kept = {k: v for k, v in obj.items() if k != "stringData"}
    return {"type": "Opaque", **kept, **({"data": data} if data else {})}


def _claim(obj: Object) -> Object:
    obj = _under(obj, "spec", volumeMode="Filesystem", storageClassName=DEFAULT_CLASS)
    obj = _under(obj, "status", phase="Pending")
    metadata = dict(obj["metadata"])
    held = metadata.get("finalizers") or []
    if PVC_PROTECTION not in held and "deletionTimestamp" not in metadata:
        metadata["finalizers"] = [*held, PVC_PROTECTION]
    return {**obj, "metadata": metadata}


def _slice(obj: Object) -> Object:
    ports = [{"name": "", "protocol": "TCP", **p} for p in obj.get("ports") or []]
    return {**obj, "endpoints": obj.get("endpoints") or [], "ports": ports}


def _namespace(obj: Object) -> Object:
    obj = _under(obj, "spec", finalizers=["kubernetes"])
    metadata = dict(obj["metadata"])
    if metadata.get("name"):
        metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
    return _under({**obj, "metadata": metadata}, "status", phase="Active")


def _class(obj: Object) -> Object:
    return {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", **obj}


def _policy(obj: Object) -> Object:
    limits: Object = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    limits |= (obj.get("spec") or {}).get("matchConstraints") or {}
    limits["resourceRules"] = [{"scope": "*", **r} for r in limits.get("resourceRules") or ()]
    filled = _under(obj, "spec", failurePolicy="Fail")
    filled["spec"]["matchConstraints"] = limits
    return filled


_AT_ONCE = {"type": "Percent", "value": 100, "periodSeconds": 15}
_SCALING: Mapping[str, Object] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, _AT_ONCE],
    },
    "scaleDown": {"selectPolicy": "Max", "policies": [_AT_ONCE]},
}


_UNMEASURED = {
    "type": "ScalingActive",
    "status": "False",
    "reason": "LocalMode",
    "message": "local mode measures no load; set spec.readers yourself, from minReaders to maxReaders",
}


def _autoscaler(obj: Object) -> Object:
    obj = _under(_under(obj, "spec", minReplicas=1), "status", conditions=[_UNMEASURED])
    if behavior := obj["spec"].get("behavior"):
        obj["spec"]["behavior"] = {way: {**rules, **(behavior.get(way) or {})} for way, rules in _SCALING.items()}
    return obj


_FILLERS = {
    "Pod": _pod,
    "Service": _service,
    "Secret": _secret,
    "PersistentVolumeClaim": _claim,
    "EndpointSlice": _slice,
    "Namespace": _namespace,
    "StorageClass": _class,
    "ValidatingAdmissionPolicy": _policy,
    "HorizontalPodAutoscaler": _autoscaler,
}


# --- what may not change ------------------------------------------------------------------------------------------

_POD_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)

_CLAIM_RULE = "spec is immutable after creation except resources.requests for bound claims"
_FIXED: Mapping[str, Mapping[str, str]] = {
    "EndpointSlice": {"addressType": ".addressType"},
    "Service": {"spec.clusterIPs[0]": ".spec.clusterIP"},
    "Secret": {"type": ".type"},
}


def frozen(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Cause]:
    """Give a cause for each change that Kubernetes refuses."""
    found: list[Cause] = []
    if kind == "Pod" and _fixed_pod_spec(old) != _fixed_pod_spec(new):
        found.append(_forbidden("spec", _POD_RULE))
    if kind == "PersistentVolumeClaim" and _fixed_claim_spec(old) != _fixed_claim_spec(new):
        found.append(_forbidden("spec", _CLAIM_RULE))
    if kind in ("Secret", "ConfigMap") and old.get("immutable") and old.get("data") != new.get("data"):
        found.append(_forbidden("data", "field is immutable when `immutable` is set"))
    for field, path in _FIXED.get(kind, {}).items():
        if dig(old, path) != dig(new, path):
            found.append(_immutable(field, dig(new, path)))
    return found


def _forbidden(field: str, rule: str) -> Cause:
    return Cause(reason="FieldValueForbidden", message=f"Forbidden: {rule}", field=field)


def _immutable(field: str, value: Any) -> Cause:
    return Cause(reason="FieldValueInvalid", message=f'Invalid value: "{value}": field is immutable', field=field)


def _fixed_pod_spec(pod: Mapping[str, Any]) -> Object:
    free = ("activeDeadlineSeconds", "tolerations", "nodeName", "schedulingGates")
    spec = {k: v for k, v in pod["spec"].items() if k not in free}
    for key in ("containers", "initContainers"):
        spec[key] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(key, [])]
    return spec


def _fixed_claim_spec(claim: Mapping[str, Any]) -> Object:
    return {k: v for k, v in claim["spec"].items() if k not in ("resources", "volumeName", "volumeAttributesClassName")}
