"""Kinds of objects that the operator touches, and the verbs it uses on each: the chart's RBAC follows this table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from borealis_operator.api.names import GROUP, VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Where objects of one kind are found, and what the operator does to them."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    verbs: tuple[str, ...] = ()
    status_verbs: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """`group/version`, or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Path of the collection, of one object or of its subresource; an empty namespace means all."""
        parts = ["", "apis", self.group, self.version] if self.group else ["", "api", self.version]
        parts += ["namespaces", namespace] if self.namespaced and namespace else []
        return "/".join(parts + [p for p in (self.plural, name, subresource) if p])


def _own(kind: str, plural: str, *verbs: str) -> Kind:
    return Kind(kind=kind, plural=plural, group=GROUP, version=VERSION, verbs=verbs, status_verbs=("patch",))


_KINDS = (
    _own("DBCluster", "dbclusters", "get", "list", "patch", "watch"),
    _own("DBInstance", "dbinstances", "create", "delete", "list", "patch", "watch"),
    _own("Snapshot", "snapshots", "list", "watch"),
    Kind(kind="Pod", plural="pods", verbs=("create", "delete", "list", "patch", "watch")),
    Kind(kind="PersistentVolumeClaim", plural="persistentvolumeclaims", verbs=("create", "delete", "list", "patch")),
    Kind(kind="Service", plural="services", verbs=("create", "list", "patch", "watch")),
    Kind(kind="Secret", plural="secrets", verbs=("create", "get", "list", "patch")),
    Kind(kind="ConfigMap", plural="configmaps", verbs=("create", "list", "patch", "update")),
    Kind(kind="Event", plural="events", verbs=("create",)),
    Kind(kind="Node", plural="nodes", namespaced=False, verbs=("list",)),
    Kind(
        kind="EndpointSlice",
        plural="endpointslices",
        group="discovery.k8s.io",
        verbs=("create", "list", "patch", "update", "watch"),
    ),
    Kind(
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        group="autoscaling",
        version="v2",
        verbs=("create", "delete", "list", "patch"),
    ),
    Kind(
        kind="NetworkPolicy",
        plural="networkpolicies",
        group="networking.k8s.io",
        verbs=("create", "delete", "list", "patch"),
    ),
    Kind(kind="Lease", plural="leases", group="coordination.k8s.io", verbs=("create", "get", "update")),
)

KINDS: Final[Mapping[str, Kind]] = {k.kind: k for k in _KINDS}
