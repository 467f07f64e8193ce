"""Pods of storage nodes and instances, and the PVCs of the former.

Both kinds are restricted in the sense of the Pod Security Standards, get every path from their environment, and talk
to nobody but their own cluster.
"""

from collections.abc import Collection, Mapping
from typing import Final

from borealis_engine.contract import names
from borealis_engine.contract.volume import Member, VolumeConfig

from borealis_operator.api.classes import Resources
from borealis_operator.api.cluster import Cluster
from borealis_operator.api.names import (
    ANNOTATION_MEMBER,
    ANNOTATION_ZONE,
    INSTANCE,
    LABEL_CLUSTER,
    LABEL_COMPONENT,
    LABEL_HOSTNAME,
    LABEL_INSTANCE,
    LABEL_ZONE,
    STORAGE,
    tls_name,
)
from borealis_operator.render.metadata import Object, render_metadata
from borealis_operator.render.resources import ANNOTATION_RESOURCES, describe_resources, render_resources

USER: Final = 10001
TLS_PATH: Final = "/etc/borealis/tls"
DATA_PATH: Final = "/var/lib/borealis"
RUN_PATH: Final = "/run/borealis"
TMP_PATH: Final = "/tmp"
SCRAPED: Final = {"prometheus.io/scrape": "true", "prometheus.io/port": str(names.PROBE_PORT)}
SHM_PATH: Final = "/dev/shm"  # PostgreSQL's dynamic shared memory; a container's own is 64 MiB


def render_pvc(cluster: Cluster, member: Member, *, size: str = "") -> Object:
    """Give the claim of one storage node; it bears the name of the pod, and says whose disk it is to be."""
    storage = cluster.spec.storage
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size or storage.size}},
    }
    if storage.class_name:
        spec["storageClassName"] = storage.class_name
    labels = {LABEL_COMPONENT: STORAGE}
    metadata = render_metadata(cluster, member.name, labels=labels, annotations={ANNOTATION_MEMBER: str(member.id)})
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def render_storage_pod(
    cluster: Cluster,
    member: Member,
    config: VolumeConfig,
    *,
    pinned: bool,
    apart: Collection[str],
    avoid: Collection[str],
) -> Object:
    """Give the pod of one storage node; `pinned` binds it to its zone, and it keeps off the nodes `apart` if it can.

    It never goes to the nodes to `avoid`.

    Only before the configuration is sealed may an empty disk become a member, or when the member joins.
    """
    joins = config.joining is not None and config.joining.member.id == member.id
    env = {
        **_common_env(cluster, member.zone, config),
        names.ENV_MEMBER_ID: str(member.id),
        names.ENV_FORMAT: "false" if config.sealed and not joins else "true",
    }
    volumes: list[Object] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": member.name}},
        _secret_volume(cluster, names.ROLE_STORAGE),
        {"name": "tmp", "emptyDir": {}},
    ]
    container = _container(cluster, STORAGE, "borealis-storage", env)
    container["ports"].append({"name": "log", "containerPort": names.LOG_PORT})
    pod = _pod(
        cluster, member.name, STORAGE, container, volumes, zone=member.zone, pinned=pinned, grace=15, avoid=avoid
    )
    if apart:
        pod["spec"]["affinity"].setdefault("nodeAffinity", {}).update(_prefer_elsewhere(apart))
    return pod


def _prefer_elsewhere(apart: Collection[str]) -> Object:
    others = {"key": LABEL_HOSTNAME, "operator": "NotIn", "values": sorted(apart)}
    term = {"weight": 100, "preference": {"matchExpressions": [others]}}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [term]}


def render_instance_pod(
    cluster: Cluster,
    instance: str,
    name: str,
    config: VolumeConfig,
    *,
    zone: str,
    pinned: bool,
    avoid: Collection[str],
    resources: Resources,
) -> Object:
    """Give a pod of one DBInstance: nothing durable in it, and not on the nodes to `avoid`."""
    env = {
        **_common_env(cluster, zone, config),
        names.ENV_RUN_DIR: RUN_PATH,
        names.ENV_ENGINE_VERSION: cluster.spec.engine_version,
    }
    volumes: list[Object] = [
        {"name": "data", "emptyDir": {}},
        _secret_volume(cluster, names.ROLE_INSTANCE),
        {"name": "run", "emptyDir": {"medium": "Memory"}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    container = _container(cluster, INSTANCE, "borealis-agent", env)
    container["ports"].append({"name": "postgresql", "containerPort": names.POSTGRES_PORT})
    container["volumeMounts"] += [
        {"name": "run", "mountPath": RUN_PATH},
        {"name": "shm", "mountPath": SHM_PATH},
    ]
    container["resources"] = render_resources(resources)
    pod = _pod(cluster, name, INSTANCE, container, volumes, zone=zone, pinned=pinned, grace=30, avoid=avoid)
    pod["metadata"]["labels"][LABEL_INSTANCE] = instance
    pod["metadata"]["annotations"][ANNOTATION_RESOURCES] = describe_resources(resources)
    return pod


def _common_env(cluster: Cluster, zone: str, config: VolumeConfig) -> dict[str, str]:
    return {
        names.ENV_CLUSTER: cluster.name,
        names.ENV_CLUSTER_UID: cluster.uid,
        names.ENV_ZONE: zone,
        names.ENV_TLS_DIR: TLS_PATH,
        names.ENV_VOLUME: config.to_json(),
        names.ENV_DATA_DIR: DATA_PATH,
        names.ENV_LEASE_SECONDS: f"{names.DEFAULT_LEASE_S:g}",
    }


def _container(cluster: Cluster, name: str, command: str, env: Mapping[str, str]) -> Object:
    variables: list[Object] = [{"name": key, "value": value} for key, value in env.items()]
    for key, path in (
        (names.ENV_POD_NAME, "metadata.name"),
        (names.ENV_POD_UID, "metadata.uid"),
        (names.ENV_POD_IP, "status.podIP"),
    ):
        variables.append({"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}})
    return {
        "name": name,
        "image": cluster.spec.image,
        "command": [command],
        "env": variables,
        "ports": [
            {"name": "control", "containerPort": names.CONTROL_PORT},
            {"name": "probe", "containerPort": names.PROBE_PORT},
        ],
        "volumeMounts": [
            {"name": "data", "mountPath": DATA_PATH},
            {"name": "tls", "mountPath": TLS_PATH, "readOnly": True},
            {"name": "tmp", "mountPath": TMP_PATH},
        ],
        "livenessProbe": _probe("/healthz", period=5, failures=6),
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _probe(path: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": names.PROBE_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _secret_volume(cluster: Cluster, role: str) -> Object:
    return {"name": "tls", "secret": {"secretName": tls_name(cluster.name, role), "defaultMode": 0o440}}


def _pod(
    cluster: Cluster,
    name: str,
    component: str,
    container: Object,
    volumes: list[Object],
    *,
    zone: str,
    pinned: bool,
    grace: int,
    avoid: Collection[str] = (),
) -> Object:
    annotations = {ANNOTATION_ZONE: zone, **SCRAPED}
    metadata = render_metadata(cluster, name, labels={LABEL_COMPONENT: component}, annotations=annotations)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": grace,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "affinity": render_affinity(cluster, component, zone=zone, pinned=pinned, avoid=avoid),
            "containers": [container],
            "volumes": volumes,
        },
    }


def render_affinity(cluster: Cluster, component: str, *, zone: str, pinned: bool, avoid: Collection[str]) -> Object:
    """Bind to the zone if there is one behind the name, and keep pods of one kind on different nodes if possible."""
    terms: list[Object] = []
    if pinned:
        terms.append({"key": LABEL_ZONE, "operator": "In", "values": [zone]})
    if avoid:
        terms.append({"key": LABEL_HOSTNAME, "operator": "NotIn", "values": sorted(avoid)})
    affinity: Object = {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {
                        "topologyKey": LABEL_HOSTNAME,
                        "labelSelector": {"matchLabels": {LABEL_CLUSTER: cluster.name, LABEL_COMPONENT: component}},
                    },
                }
            ]
        }
    }
    if terms:
        required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
        affinity["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    return affinity
