"""Facts of one cluster: every kind of object listed once, in parallel, then joined with the word of the agents."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from borealis_engine.contract.names import ENV_MEMBER_ID
from borealis_engine.contract.volume import VolumeConfig

from borealis_operator.api.cluster import Cluster, ClusterKey
from borealis_operator.api.errors import AgentError, ConfigInvalid, NameTaken, NotFound
from borealis_operator.api.fields import section, timestamp
from borealis_operator.api.forgiving import Faults, forgive
from borealis_operator.api.instance import Instance, parse_instance
from borealis_operator.api.names import (
    ANNOTATION_ZONE,
    LABEL_COMPONENT,
    LABEL_HOSTNAME,
    LABEL_INSTANCE,
    LABEL_ROLE,
    LABEL_ZONE,
    VOLUME_KEY,
    cluster_selector,
    tls_name,
    volume_name,
)
from borealis_operator.api.snapshot import Snapshot, parse_snapshot
from borealis_operator.kube.port import Kube, Object
from borealis_operator.observe.astray import Objects, find_astray, restore_labels
from borealis_operator.observe.port import Agents, Credentials, Place
from borealis_operator.plan.facts import Agent, Asked, Facts, Node, Pod, Volume
from borealis_operator.render.autoscaling import AUTOSCALER
from borealis_operator.render.policies import POLICY
from borealis_operator.render.secrets import read_secret

OWN_KINDS: Final = (
    "Pod",
    "PersistentVolumeClaim",
    "Service",
    "EndpointSlice",
    "Secret",
    "ConfigMap",
    AUTOSCALER,
    POLICY,
)


async def observe_cluster(
    kube: Kube, agents: Agents, cluster: Cluster, *, now: float, entropy: str, asked: Asked | None
) -> Facts:
    """Read everything that a pass of `cluster` may base a decision on."""
    objects = await list_objects(kube, cluster.key)
    _refuse_leftovers(objects, cluster.uid)
    instances, nodes, snapshots, user_secret = await asyncio.gather(
        kube.list("DBInstance", cluster.key.namespace),
        kube.list("Node", ""),
        kube.list("Snapshot", cluster.key.namespace),
        _user_secret(kube, cluster),
    )
    names = {i["metadata"]["name"] for i in instances if section(i, "spec").get("clusterName") == cluster.name}
    found = {**objects, **await find_astray(kube, cluster, objects, names)}
    objects, stripped = restore_labels(found, cluster.name)
    raw_pods = [o for (kind, _), o in objects.items() if kind == "Pod"]
    await _follow(agents, cluster, objects, raw_pods)
    parsed = _instances(instances, cluster.name)
    volume = _volume(objects.get(("ConfigMap", volume_name(cluster.name))))
    pods = tuple(read_pod(p, agents.latest(p["metadata"]["uid"])) for p in raw_pods)
    return Facts(
        cluster=cluster,
        now=now,
        entropy=entropy,
        nodes=tuple(read_node(n) for n in nodes),
        pods=pods,
        instances=tuple(instance for instance, _ in parsed),
        volume=volume,
        remembered={} if volume else await _remembered(agents, pods),
        stripped=stripped,
        objects=objects,
        user_secret=user_secret,
        asked=asked,
        snapshots=read_snapshots(snapshots, cluster.name),
        faults=tuple(fault for _, faults in parsed for fault in faults),
        taken=frozenset(i["metadata"]["name"] for i in instances),
    )


async def list_objects(kube: Kube, key: ClusterKey) -> Objects:
    """Give all objects that the operator made for a cluster, by (kind, name); DBInstances are not among them."""
    selector = cluster_selector(key.name)
    lists = await asyncio.gather(*(kube.list(k, key.namespace, selector=selector) for k in OWN_KINDS))
    return {
        (kind, o["metadata"]["name"]): {"kind": kind, **o}
        for kind, found in zip(OWN_KINDS, lists, strict=True)
        for o in found
    }


def _refuse_leftovers(objects: Mapping[tuple[str, str], Object], uid: str) -> None:
    """Wait while objects of an earlier cluster of the same name are there: its volume is not this cluster's."""
    for (kind, name), live in objects.items():
        owners = live["metadata"].get("ownerReferences") or ()
        if any(o.get("kind") == "DBCluster" and o.get("uid") != uid for o in owners):
            raise NameTaken(kind, name)


def read_pod(raw: Object, agent: Agent) -> Pod:
    """Join a live Pod with the word of its agent."""
    metadata, status = raw["metadata"], section(raw, "status")
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        component=labels.get(LABEL_COMPONENT, ""),
        instance=labels.get(LABEL_INSTANCE, ""),
        node=section(raw, "spec").get("nodeName") or "",
        zone=annotations.get(ANNOTATION_ZONE, ""),
        ip=status.get("podIP") or "",
        phase=status.get("phase") or "Pending",
        terminating=bool(metadata.get("deletionTimestamp")),
        unschedulable=conditions.get("PodScheduled", {}).get("reason") == "Unschedulable",
        created=timestamp(metadata.get("creationTimestamp")),
        role=labels.get(LABEL_ROLE, ""),
        agent=agent,
    )


async def _follow(
    agents: Agents, cluster: Cluster, objects: Mapping[tuple[str, str], Object], pods: Iterable[Object]
) -> None:
    secret = objects.get(("Secret", tls_name(cluster.name, "operator")))
    if secret is None:
        return
    credentials = Credentials(
        cluster_uid=cluster.uid,
        ca=read_secret(secret, "ca.crt"),
        certificate=read_secret(secret, "tls.crt"),
        key=read_secret(secret, "tls.key"),
    )
    places = {
        p["metadata"]["uid"]: read_place(p, ip)
        for p in pods
        if (ip := section(p, "status").get("podIP")) and section(p, "status").get("phase") == "Running"
    }
    await agents.follow(cluster.key, credentials, places)


def read_place(pod: Object, address: str) -> Place:
    """Give who should answer at the address of a live Pod."""
    containers = section(pod, "spec").get("containers") or [{}]
    told = {each.get("name"): str(each.get("value", "")) for each in containers[0].get("env") or ()}
    role = (pod["metadata"].get("labels") or {}).get(LABEL_COMPONENT, "")  # a component's certificate has its name
    return Place(address=address, name=pod["metadata"]["name"], role=role, member=told.get(ENV_MEMBER_ID, ""))


async def _user_secret(kube: Kube, cluster: Cluster) -> Object | None:
    if not cluster.spec.master_secret:
        return None
    try:
        return await kube.get("Secret", cluster.key.namespace, cluster.spec.master_secret)
    except NotFound:
        return None


def _instances(raw: Iterable[Object], cluster: str) -> list[tuple[Instance, Faults]]:
    """Give the DBInstances of a cluster by name, and what is wrong with each."""
    own = [forgive(parse_instance, i) for i in raw if section(i, "spec").get("clusterName") == cluster]
    told = [
        (
            replace(i, fault="; ".join(map(str, wrong))),
            tuple(ConfigInvalid(f"{f.field} of DBInstance {i.name}", f.problem, f.remedy) for f in wrong),
        )
        for i, wrong in own
    ]
    return sorted(told, key=lambda pair: pair[0].name)


def read_snapshots(raw: Iterable[Object], cluster: str) -> tuple[Snapshot, ...]:
    """Give the Snapshots of a cluster, by name."""
    own = [parse_snapshot(s) for s in raw if section(s, "spec").get("clusterName") == cluster]
    return tuple(sorted(own, key=lambda s: s.name))


def read_node(raw: Object) -> Node:
    """Read a live Node."""
    metadata = raw["metadata"]
    labels = metadata.get("labels") or {}
    conditions: dict[str, Any] = {
        c.get("type"): c.get("status") for c in section(raw, "status").get("conditions") or ()
    }
    return Node(
        name=metadata["name"],
        hostname=labels.get(LABEL_HOSTNAME, metadata["name"]),
        zone=labels.get(LABEL_ZONE, ""),
        ready=conditions.get("Ready") == "True",
        schedulable=not section(raw, "spec").get("unschedulable"),
    )


def _volume(raw: Object | None) -> Volume | None:
    """Read the volume's configuration; None if it is gone, or is none any more."""
    try:
        config = VolumeConfig.from_json(raw["data"][VOLUME_KEY]) if raw else None
    except (KeyError, TypeError, ValueError):
        return None
    return Volume(config=config, resource_version=raw["metadata"]["resourceVersion"]) if raw and config else None


async def _remembered(agents: Agents, pods: Iterable[Pod]) -> dict[str, VolumeConfig]:
    """Ask the storage nodes for the configuration that each has on its disk; by member."""
    found = dict[str, VolumeConfig]()

    async def ask(pod: Pod, member: str) -> None:
        with contextlib.suppress(AgentError):
            found[member] = await agents.read_volume(pod.uid)

    await asyncio.gather(*(ask(pod, status.member) for pod in pods if (status := pod.storage_status)))
    return found
