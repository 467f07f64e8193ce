"""Objects of a cluster that a user stripped of labels: found by their owner, and seen as what they are at once.

The invariant: a claim, pod or Secret without its labels is never taken for lost, for that would have it replaced.
Objects of a kind are listed without a selector only while one that should be there is not.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from borealis_operator.api.cluster import Cluster
from borealis_operator.api.names import (
    LABEL_INSTANCE,
    SERVER,
    TLS_ROLES,
    ca_name,
    master_name,
    reader_service,
    server_ca_name,
    tls_name,
    volume_name,
    writer_service,
)
from borealis_operator.kube.port import Kube, Object
from borealis_operator.plan.facts import Stripped
from borealis_operator.render.labels import is_owned, missing_labels
from borealis_operator.render.policies import POLICY, policy_name

Objects = Mapping[tuple[str, str], Object]


async def find_astray(kube: Kube, cluster: Cluster, objects: Objects, instances: Iterable[str]) -> Objects:
    """Give the cluster's objects that no selector finds; `instances` are the names of its DBInstances."""
    if not cluster.status.epoch:
        return {}  # it is being made, and nothing has been there before
    kinds = sorted({kind for kind, name in _expected(cluster) if (kind, name) not in objects})
    placed = {(o["metadata"].get("labels") or {}).get(LABEL_INSTANCE) for (k, _), o in objects.items() if k == "Pod"}
    if "Pod" not in kinds and set(instances) - placed:
        kinds.append("Pod")
    lists = await asyncio.gather(*(kube.list(kind, cluster.key.namespace) for kind in kinds))
    return {
        (kind, o["metadata"]["name"]): {"kind": kind, **o}
        for kind, found in zip(kinds, lists, strict=True)
        for o in found
        if is_owned(o, cluster.uid) and (kind, o["metadata"]["name"]) not in objects
    }


def restore_labels(objects: Objects, cluster: str) -> tuple[Objects, tuple[Stripped, ...]]:
    """Give the objects with the labels that they should bear, and which lack them in truth."""
    seen, stripped = dict(objects), list[Stripped]()
    for (kind, name), live in objects.items():
        if lost := missing_labels(live, cluster):
            metadata = {**live["metadata"], "labels": {**(live["metadata"].get("labels") or {}), **lost}}
            seen[kind, name] = {**live, "metadata": metadata}
            stripped.append(Stripped(kind=kind, name=name, labels=lost))
    return seen, tuple(stripped)


def _expected(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Give (kind, name) of what has been there since the cluster had its first writer."""
    name, status = cluster.name, cluster.status.raw
    yield "ConfigMap", volume_name(name)
    for secret in (ca_name(name), master_name(name), server_ca_name(name)):
        yield "Secret", secret
    for role in (*TLS_ROLES, SERVER):
        yield "Secret", tls_name(name, role)
    for service in (writer_service(name), reader_service(name)):
        yield "Service", service
        yield "EndpointSlice", service
    yield POLICY, policy_name(name)
    for entry in status.get("storageNodes") or ():
        yield "Pod", entry.get("name", "")
        yield "PersistentVolumeClaim", entry.get("name", "")
