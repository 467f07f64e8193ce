"""The suite's own kind: a CRD that uses everything that is checked."""

from typing import Any

from kube import APPLY, Answer, Kube, until

GROUP, PLURAL = "conformance.borealis.dev", "widgets"
VERSION = f"{GROUP}/v1"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

_PART = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "weight": {"type": "integer", "minimum": 0},
        "color": {"type": "string", "default": "grey"},
    },
}
_SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 100, "description": "How large."},
        "limit": {"type": "integer"},
        "replicas": {"type": "integer", "format": "int32", "minimum": 0, "default": 1},
        "shape": {"type": "string", "enum": ["round", "square"], "default": "round"},
        "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "id": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "id cannot change"}],
        },
        "parts": {
            "type": "array",
            "maxItems": 10,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": _PART,
        },
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "whole": {"type": "array", "items": {"type": "string"}},
        "notes": {"type": "object", "additionalProperties": {"type": "string"}},
        "nested": {"type": "object", "default": {}, "properties": {"depth": {"type": "integer", "default": 3}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
    "x-kubernetes-validations": [
        {
            "rule": "!has(self.limit) || self.size <= self.limit",
            "messageExpression": "'size of a ' + self.shape + ' widget is above the limit'",
        }
    ],
}
_STATUS = {
    "type": "object",
    "properties": {
        "phase": {"type": "string"},
        "replicas": {"type": "integer", "format": "int32"},
        "selector": {"type": "string"},
    },
}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {
            "kind": "Widget",
            "listKind": "WidgetList",
            "plural": PLURAL,
            "singular": "widget",
            "shortNames": ["wdg"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "A thing to test with.",
                        "required": ["spec"],
                        "properties": {"spec": _SPEC, "status": _STATUS},
                    }
                },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                    {"name": "Shape", "type": "string", "jsonPath": ".spec.shape", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            }
        ],
    },
}


def widget(name: str, *, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Give a Widget; its size is 1 unless told."""
    return {
        "apiVersion": VERSION,
        "kind": "Widget",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"size": 1, **spec},
    }


class Widgets:
    """Widgets of one namespace."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.collection = f"/apis/{VERSION}/namespaces/{kube.namespace}/{PLURAL}"

    def path(self, name: str, subresource: str = "") -> str:
        return f"{self.collection}/{name}" + (f"/{subresource}" if subresource else "")

    async def create(self, obj: dict[str, Any], **query: str) -> Answer:
        return await self.kube.send("POST", self.collection, obj, query=query)

    async def get(self, name: str) -> Answer:
        return await self.kube.send("GET", self.path(name))

    async def put(self, obj: dict[str, Any], subresource: str = "") -> Answer:
        return await self.kube.send("PUT", self.path(obj["metadata"]["name"], subresource), obj)

    async def patch(self, name: str, body: object, kind: str, subresource: str = "", **query: str) -> Answer:
        return await self.kube.send("PATCH", self.path(name, subresource), body, kind=kind, query=query)

    async def apply(self, name: str, manager: str, subresource: str = "", **parts: Any) -> Answer:
        """Apply `spec=` or `status=` or `metadata=` as `manager`; `force=True` takes fields over."""
        query = {"fieldManager": manager, **({"force": "true"} if parts.pop("force", False) else {})}
        metadata = {"name": name, **parts.pop("metadata", {})}
        body = {"apiVersion": VERSION, "kind": "Widget", "metadata": metadata, **parts}
        return await self.patch(name, body, APPLY, subresource, **query)

    async def delete(self, name: str, body: object = None) -> Answer:
        return await self.kube.send("DELETE", self.path(name), body)


async def install(kube: Kube) -> None:
    """Make the CRD and the namespace, and wait until both serve."""
    made = await kube.send("POST", CRD_PATH, CRD)
    assert made.code in (201, 409), made.body
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kube.namespace}}
    (await kube.send("POST", "/api/v1/namespaces", namespace)).ok()

    async def served() -> bool:
        return (await kube.send("GET", f"/apis/{VERSION}/namespaces/{kube.namespace}/{PLURAL}")).code == 200

    await until(served, "the kind is not served")
