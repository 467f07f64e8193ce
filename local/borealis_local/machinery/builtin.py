"""Kubernetes' own kinds that local mode serves, and their merge rules, as Kubernetes' OpenAPI states them."""

from typing import Final

from borealis_local.machinery.resources import Column, Resource
from borealis_local.machinery.shape import ANY, ATOMIC, METADATA, SET, STRINGS, Shape, keyed, struct

_AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date")
_CONDITIONS = keyed("type")

_CONTAINER = struct(
    env=keyed("name", item=struct(valueFrom=struct(fieldRef=ATOMIC, secretKeyRef=ATOMIC, configMapKeyRef=ATOMIC))),
    ports=keyed("containerPort", "protocol", protocol="TCP"),
    volumeMounts=keyed("mountPath"),
    volumeDevices=keyed("devicePath"),
)
_POD_SPEC = struct(
    containers=keyed("name", item=_CONTAINER),
    initContainers=keyed("name", item=_CONTAINER),
    volumes=keyed("name"),
    imagePullSecrets=keyed("name", item=ATOMIC),
    hostAliases=keyed("ip"),
    nodeSelector=ATOMIC,
    topologySpreadConstraints=keyed("topologyKey", "whenUnsatisfiable", item=struct(labelSelector=ATOMIC)),
    readinessGates=Shape(),
    schedulingGates=keyed("name"),
)
_POD_STATUS = struct(conditions=_CONDITIONS, podIPs=keyed("ip"), hostIPs=Shape(), containerStatuses=Shape())
_SERVICE_SPEC = struct(ports=keyed("port", "protocol", protocol="TCP"), selector=ATOMIC)
_NODE_SPEC = struct(podCIDRs=SET, taints=Shape())
_NODE_STATUS = struct(conditions=_CONDITIONS, addresses=keyed("type"))


def _kind(
    api: str,
    kind: str,
    plural: str,
    *short: str,
    namespaced: bool = True,
    status: bool = False,
    generation: bool = False,
    columns: tuple[Column, ...] = (),
    categories: tuple[str, ...] = (),
    **fields: Shape,
) -> Resource:
    group, _, version = api.rpartition("/")
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        short_names=short,
        categories=categories,
        status=status,
        generation=generation,
        shape=Shape(fields={"metadata": METADATA, **{k.rstrip("_"): v for k, v in fields.items()}}),
        columns=(Column(name="Name", path=".metadata.name", format="name"), *columns, _AGE),
    )


def _column(name: str, path: str = "", type_: str = "string", priority: int = 0) -> Column:
    return Column(name=name, path=path, type=type_, priority=priority)


BUILTIN: Final[tuple[Resource, ...]] = (
    _kind("v1", "Namespace", "namespaces", "ns", namespaced=False, status=True,
          columns=(_column("Status", ".status.phase"),), spec=struct(finalizers=SET)),
    _kind("v1", "Node", "nodes", "no", namespaced=False, status=True,
          columns=(_column("Status"), _column("Zone", r".metadata.labels.topology\.kubernetes\.io/zone"),
                   _column("Version", ".status.nodeInfo.kubeletVersion")), spec=_NODE_SPEC, status_=_NODE_STATUS),
    _kind("v1", "Pod", "pods", "po", status=True, generation=True, categories=("all",),
          columns=(_column("Ready"), _column("Status"), _column("Restarts", type_="integer"),
                   _column("IP", ".status.podIP", priority=1), _column("Node", ".spec.nodeName", priority=1)),
          spec=_POD_SPEC, status_=_POD_STATUS),
    _kind("v1", "Service", "services", "svc", status=True, categories=("all",),
          columns=(_column("Type", ".spec.type"), _column("Cluster-IP", ".spec.clusterIP"), _column("Port(s)"),
                   _column("Selector", priority=1)), spec=_SERVICE_SPEC),
    _kind("v1", "Endpoints", "endpoints", "ep", subsets=Shape()),
    _kind("v1", "Secret", "secrets",
          columns=(_column("Type", ".type"), _column("Data", type_="integer")), data=STRINGS, stringData=STRINGS),
    _kind("v1", "ConfigMap", "configmaps", "cm", columns=(_column("Data", type_="integer"),), data=STRINGS),
    _kind("v1", "Event", "events", "ev",
          columns=(_column("Last Seen", ".lastTimestamp", "date"), _column("Type", ".type"),
                   _column("Reason", ".reason"), _column("Object"), _column("Message", ".message"))),
    _kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", status=True,
          columns=(_column("Status", ".status.phase"), _column("Volume", ".spec.volumeName"),
                   _column("Capacity", ".status.capacity.storage"),
                   _column("StorageClass", ".spec.storageClassName")),
          spec=struct(selector=ATOMIC, dataSource=ATOMIC), status_=struct(conditions=_CONDITIONS)),
    _kind("v1", "PersistentVolume", "persistentvolumes", "pv", namespaced=False, status=True,
          columns=(_column("Capacity", ".spec.capacity.storage"), _column("Status", ".status.phase"),
                   _column("Claim", ".spec.claimRef.name")), spec=struct(claimRef=ANY)),
    _kind("v1", "ServiceAccount", "serviceaccounts", "sa", secrets=keyed("name"), imagePullSecrets=Shape()),
    _kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", generation=True,
          columns=(_column("AddressType", ".addressType"), _column("Ports"), _column("Endpoints"))),
    _kind("coordination.k8s.io/v1", "Lease", "leases", columns=(_column("Holder", ".spec.holderIdentity"),)),
    _kind("events.k8s.io/v1", "Event", "events", "ev",
          columns=(_column("Last Seen", ".deprecatedLastTimestamp", "date"), _column("Type", ".type"),
                   _column("Reason", ".reason"), _column("Object"), _column("Message", ".note"))),
    _kind("storage.k8s.io/v1", "StorageClass", "storageclasses", "sc", namespaced=False,
          columns=(_column("Provisioner", ".provisioner"), _column("VolumeBindingMode", ".volumeBindingMode"))),
    _kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", status=True,
          columns=(_column("Reference", ".spec.scaleTargetRef.name"), _column("MinPods", ".spec.minReplicas"),
                   _column("MaxPods", ".spec.maxReplicas"))),
    _kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "netpol", generation=True,
          columns=(_column("Pod-Selector", ".spec.podSelector.matchLabels"),),
          spec=struct(podSelector=ATOMIC, ingress=ATOMIC, egress=ATOMIC, policyTypes=ATOMIC)),
    _kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", status=True, generation=True,
          spec=struct(selector=ATOMIC)),
    _kind("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies",
          namespaced=False, status=True, generation=True,
          columns=(_column("Validations", type_="integer"), _column("ParamKind", ".spec.paramKind.kind")),
          spec=struct(matchConstraints=ATOMIC, matchConditions=keyed("name"), variables=keyed("name"))),
    _kind("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings",
          namespaced=False, columns=(_column("PolicyName", ".spec.policyName"),),
          spec=struct(validationActions=SET)),
    _kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", "crd", "crds",
          namespaced=False, status=True, generation=True,
          columns=(Column(name="Created At", path=".metadata.creationTimestamp"),),
          status_=struct(conditions=_CONDITIONS)),
)  # fmt: skip
