"""The steps of a pass, each a pure function from facts to actions: foundation, volume, instances, endpoints.

Order is safety: certificates before pods, a sealed configuration before instances, a promotion before the endpoint
that leads to it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from borealis_engine.contract.volume import WRITE_QUORUM, Generation, VolumeConfig

from borealis_operator.api.cluster import Cluster
from borealis_operator.api.errors import ConfigInvalid, StateBroken
from borealis_operator.api.instance import Instance
from borealis_operator.api.names import (
    LABEL_CLUSTER,
    LABEL_ROLE,
    READER,
    TLS_ROLES,
    WRITER,
    master_name,
    reader_service,
    tls_name,
    volume_name,
    writer_service,
)
from borealis_operator.plan.actions import (
    Action,
    Announce,
    Apply,
    Create,
    Delete,
    MakeCertificates,
    MakeMaster,
    Patch,
    PushVolume,
    Replace,
)
from borealis_operator.plan.endpoints import Endpoint, decide_reader_endpoint, decide_writer_endpoint
from borealis_operator.plan.facts import Facts, Manifest
from borealis_operator.plan.instances import plan_instances
from borealis_operator.plan.placement import choose_instance_zone, is_stand_in
from borealis_operator.plan.replacement import plan_replacement, pod_suffix
from borealis_operator.plan.volume import advance_config, make_config
from borealis_operator.render.endpoints import read_slice, render_service, render_slice
from borealis_operator.render.metadata import owner_reference
from borealis_operator.render.objects import holds, render_instance, render_volume
from borealis_operator.render.pods import render_instance_pod, render_pvc, render_storage_pod
from borealis_operator.render.secrets import read_secret, render_master


def master_password(facts: Facts) -> str:
    """Give the master user's password: from the user's Secret if one is named, else the generated one."""
    if facts.cluster.spec.master_secret:
        return facts.user_password
    live = facts.live("Secret", master_name(facts.cluster.name))
    return read_secret(live, "password") if live else ""


def master_trouble(facts: Facts) -> ConfigInvalid | None:
    """Say what is wrong with the user's own Secret, which keeps nothing but the master user from being set up."""
    named = facts.cluster.spec.master_secret
    if not named or facts.user_password:
        return None
    problem = f"there is no Secret {named!r} with a text under the key 'password'"
    return ConfigInvalid("spec.masterUserSecret.name", problem, "create it in the namespace of the DBCluster")


def lay_foundation(facts: Facts) -> Iterator[Action]:
    """Give certificates, master Secret (as soon as there is a password) and Services."""
    cluster = facts.cluster
    missing = tuple(r for r in TLS_ROLES if not facts.live("Secret", tls_name(cluster.name, r)))
    if missing:
        yield MakeCertificates(roles=missing)
    password = master_password(facts)
    if password:
        yield from _apply(facts, render_master(cluster, password))
    elif not cluster.spec.master_secret:
        yield MakeMaster()
    for name in (writer_service(cluster.name), reader_service(cluster.name)):
        yield from _apply(facts, render_service(cluster, name))


def tend_volume(facts: Facts) -> tuple[VolumeConfig, list[Action]]:
    """Give the configuration that holds from here on, and the write that makes it so."""
    cluster = facts.cluster
    if facts.volume is None:
        if facts.storage_pods or any(kind == "PersistentVolumeClaim" for kind, _ in facts.objects):
            raise StateBroken(
                f"ConfigMap {volume_name(cluster.name)!r} with the volume's membership is gone although storage nodes "
                "exist; restore it from a backup: a new one would disown the data"
            )
        config = make_config(cluster.name, cluster.uid, facts.nodes, entropy=facts.entropy)
        return config, [Create(manifest=render_volume(cluster, config, resource_version=""))]
    config = advance_config(facts.volume.config, facts.storage_pods)
    if config == facts.volume.config:
        return config, []
    version = facts.volume.resource_version
    return config, [Replace(manifest=render_volume(cluster, config, resource_version=version))]


def tend_storage(facts: Facts, config: VolumeConfig) -> Iterator[Action]:
    """Give the claims and pods of storage nodes that are missing; a pod that ended for good makes room first."""
    pods = {p.name: p for p in facts.storage_pods}
    for member in config.members:
        if not facts.live("PersistentVolumeClaim", member.name):
            yield Create(manifest=render_pvc(facts.cluster, member))
        pod = pods.get(member.name)
        if pod is None:
            pinned = not is_stand_in(member.zone)
            yield Create(manifest=render_storage_pod(facts.cluster, member, config, pinned=pinned))
        elif pod.over and not pod.terminating:
            yield Delete(kind="Pod", name=pod.name, uid=pod.uid)


def push_config(facts: Facts, config: VolumeConfig) -> Iterator[Action]:
    """Tell every pod that answers and knows an older configuration."""
    for pod in facts.pods:
        status = pod.instance_status or pod.storage_status
        if status and (Generation(status.generation), status.revision) < config.version:
            yield PushVolume(pod=pod, config=config)


def tend_instances(facts: Facts) -> Iterator[Action]:
    """Give DBInstances to make, adopt and delete."""
    cluster, writer = facts.cluster, facts.writer
    planned = plan_instances(
        cluster.name, cluster.spec.readers, facts.instances, writer=writer.instance if writer else ""
    )
    for name in planned.create:
        yield Create(manifest=render_instance(cluster, name))
    for instance in planned.delete:
        yield Delete(kind="DBInstance", name=instance.name, uid=instance.uid)
    for instance in facts.instances:
        if not instance.owned and not instance.deleting:
            yield _adopt(cluster, instance)


def _adopt(cluster: Cluster, instance: Instance) -> Patch:
    """Have a user's DBInstance go with the cluster, next to whomever else it belongs to; one of them controls."""
    free = not any(owner.get("controller") for owner in instance.owners)
    owners = [*instance.owners, owner_reference(cluster) | {"controller": free}]
    metadata = {"labels": {LABEL_CLUSTER: cluster.name}, "ownerReferences": owners, "resourceVersion": instance.version}
    return Patch(kind="DBInstance", name=instance.name, body={"metadata": metadata})


def tend_instance_pods(facts: Facts, config: VolumeConfig) -> Iterator[Action]:
    """Give pods to delete and to make, each new one counted before the next is placed."""
    cluster, writer = facts.cluster, facts.writer
    heard = sum(1 for p in facts.storage_pods if p.storage_status)
    plan = plan_replacement(
        facts.instance_pods, facts.instances, facts.nodes, now=facts.now, cut_off=heard < WRITE_QUORUM
    )
    for loss in plan.losses:
        reason = "InstanceReplaced" if loss.replaced else "InstanceRemoved"
        yield Announce(reason=reason, message=f"{loss.pod.name} is deleted: {loss.reason}")
        yield Delete(kind="Pod", name=loss.pod.name, uid=loss.pod.uid)
    lost = {loss.pod.name for loss in plan.losses}
    placed = [p.zone for p in facts.instance_pods if p.name not in lost and not p.terminating]
    zones = [m.zone for m in config.members]
    nodes = [n for n in facts.nodes if n.name not in plan.avoid]
    avoid = {n.hostname for n in facts.nodes if n.name in plan.avoid}
    for instance in plan.bare:
        zone = choose_instance_zone(zones, nodes, placed, writer_zone=writer.zone if writer else "", full=plan.full)
        placed.append(zone)
        name = f"{instance.name}-{pod_suffix(facts.entropy, instance.name)}"
        pinned = not is_stand_in(zone)
        yield Create(
            manifest=render_instance_pod(cluster, instance.name, name, config, zone=zone, pinned=pinned, avoid=avoid)
        )


def label_roles(facts: Facts) -> Iterator[Action]:
    """Give role labels that differ from what the agents say."""
    writer = facts.writer
    for pod in facts.instance_pods:
        if pod.instance_status is None:
            continue
        role = WRITER if writer and pod.name == writer.name else READER
        if pod.role != role:
            yield Patch(kind="Pod", name=pod.name, body={"metadata": {"labels": {LABEL_ROLE: role}}})


def switch_endpoints(facts: Facts) -> Iterator[Action]:
    """Give the slices that lead elsewhere than they should."""
    names = (writer_service(facts.cluster.name), reader_service(facts.cluster.name))
    live = [_endpoint(facts.live("EndpointSlice", name)) for name in names]
    to_writer = decide_writer_endpoint(live[0], facts.writer, facts.instance_pods)
    to_readers = decide_reader_endpoint(live[1], to_writer, facts.instance_pods)
    for name, before, after in zip(names, live, (to_writer, to_readers), strict=True):
        if after == before or (before is None and not after.addresses):
            continue
        old = facts.live("EndpointSlice", name)
        manifest = render_slice(facts.cluster, name, after.addresses, after.epoch, live=old)
        yield Replace(manifest=manifest) if old else Create(manifest=manifest)


def _endpoint(live: Manifest | None) -> Endpoint | None:
    if live is None:
        return None
    addresses, epoch = read_slice(live)
    return Endpoint(addresses=tuple(sorted(addresses)), epoch=epoch)


def _apply(facts: Facts, manifest: Mapping[str, Any]) -> Iterator[Action]:
    """Make or mend an object; one of that name that is not the cluster's own is never taken over."""
    live = facts.live(manifest["kind"], manifest["metadata"]["name"])
    if live is None:
        yield Create(manifest=manifest)
    elif not holds(live, manifest):
        yield Apply(manifest=manifest)
