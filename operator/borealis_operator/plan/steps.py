"""The steps of a pass, each a pure function from facts to actions: foundation, volume, instances, endpoints.

Order is safety: certificates before pods, a sealed configuration before instances, a promotion before the endpoint
that leads to it.
"""

from collections.abc import Iterator

from borealis_engine.contract.volume import WRITE_QUORUM, Generation, Member, VolumeConfig

from borealis_operator.api.errors import StateBroken
from borealis_operator.api.names import (
    LABEL_ROLE,
    READER,
    SERVER,
    TLS_ROLES,
    WRITER,
    ca_name,
    master_name,
    reader_service,
    tls_name,
    volume_name,
    writer_service,
)
from borealis_operator.plan.actions import (
    Action,
    Announce,
    Create,
    Delete,
    MakeCertificates,
    MakeMaster,
    Move,
    Patch,
    PushVolume,
    Replace,
)
from borealis_operator.plan.copies import CLAIM, all_copies, newcomer
from borealis_operator.plan.departure import leaving_pods
from borealis_operator.plan.endpoints import Endpoint, decide_reader_endpoint, decide_writer_endpoint
from borealis_operator.plan.facts import Facts, Manifest
from borealis_operator.plan.membership import clear_up, is_usable, nodes_barred, nodes_taken, plan_step
from borealis_operator.plan.password import master_password
from borealis_operator.plan.placement import is_stand_in
from borealis_operator.plan.rollout import restarting_pods
from borealis_operator.plan.upkeep import keep
from borealis_operator.plan.volume import advance_config, make_config, rebuild_config
from borealis_operator.render.endpoints import read_slice, render_service, render_slice
from borealis_operator.render.objects import render_volume
from borealis_operator.render.pods import render_pvc, render_storage_pod
from borealis_operator.render.secrets import read_secret, render_master, render_server_ca


def lay_foundation(facts: Facts) -> Iterator[Action]:
    """Give certificates, master Secret (as soon as there is a password) and Services."""
    cluster = facts.cluster
    missing = tuple(r for r in TLS_ROLES if not facts.live("Secret", tls_name(cluster.name, r)))
    if missing:
        yield MakeCertificates(roles=missing)
    if password := master_password(facts):
        yield from keep(facts, render_master(cluster, password, _authority(facts)))
    elif not cluster.spec.master_secret and not facts.live("Secret", master_name(cluster.name)):
        yield MakeMaster()
    for name in (writer_service(cluster.name), reader_service(cluster.name)):
        yield from keep(facts, render_service(cluster, name))


def offer_tls(facts: Facts) -> Iterator[Action]:
    """Give what clients need for TLS: PostgreSQL's own certificate, and a Secret of the authority to check it by.

    Nothing else waits for it: pods that are made before it is there go without.
    """
    cluster, ca = facts.cluster, _authority(facts)
    if ca and not facts.live("Secret", tls_name(cluster.name, SERVER)):
        yield MakeCertificates(roles=(SERVER,))
    if ca:
        yield from keep(facts, render_server_ca(cluster, ca))


def _authority(facts: Facts) -> str:
    """Give the certificate of the cluster's authority; empty if there is none, or none that can be read."""
    live = facts.live("Secret", ca_name(facts.cluster.name))
    return read_secret(live, "tls.crt") if live else ""


def tend_volume(facts: Facts) -> tuple[VolumeConfig, list[Action]]:
    """Give the configuration that holds from here on, and the write that makes it so."""
    cluster = facts.cluster
    if facts.volume is None:
        return _make_volume(facts)
    config, version = advance_config(facts.volume.config, facts.storage_pods), facts.volume.resource_version
    if step := plan_step(facts, config):
        write = Replace(manifest=render_volume(cluster, step.config, resource_version=version))
        # Nobody hears of it in this pass: only what is written is a configuration.
        return facts.volume.config, [Move(claim=step.claim, config=write, told=step.told)]
    if config == facts.volume.config:
        return config, []
    return config, [Replace(manifest=render_volume(cluster, config, resource_version=version))]


def _make_volume(facts: Facts) -> tuple[VolumeConfig, list[Action]]:
    """Give the first configuration, or the one that the members hold if the ConfigMap was lost or damaged."""
    cluster, live = facts.cluster, facts.live("ConfigMap", volume_name(facts.cluster.name))
    begun = facts.storage_pods or any(kind == "PersistentVolumeClaim" for kind, _ in facts.objects)
    if not live and not begun and not cluster.status.epoch:  # one that had a writer is never begun anew
        config = make_config(cluster.name, cluster.uid, facts.nodes, entropy=facts.entropy)
        return config, [Create(manifest=render_volume(cluster, config, resource_version=""))]
    rebuilt, name = rebuild_config(facts.remembered, cluster.uid), volume_name(cluster.name)
    if rebuilt is None:
        raise StateBroken(
            f"ConfigMap {name!r} with the volume's membership is {'damaged' if live else 'gone'}, and {WRITE_QUORUM} "
            f"storage nodes that agree on it are needed to make it again, of which {len(facts.remembered)} answer; "
            "have their pods run, or restore it from a backup: a new one would disown the data"
        )
    version = live["metadata"]["resourceVersion"] if live else ""
    manifest = render_volume(cluster, rebuilt, resource_version=version)
    told = f"ConfigMap {name!r} was {'damaged' if live else 'gone'}; it is made again as the storage nodes hold it"
    write = Replace(manifest=manifest) if live else Create(manifest=manifest)
    return rebuilt, [write, Announce(reason="VolumeConfigRebuilt", message=told, warning=True)]


def restore_labels(facts: Facts) -> Iterator[Action]:
    """Put labels back by which objects are found, and say whose were missing."""
    for lost in facts.stripped:
        yield Patch(kind=lost.kind, name=lost.name, body={"metadata": {"labels": dict(lost.labels)}})
    if facts.stripped:
        names = ", ".join(f"{lost.kind} {lost.name}" for lost in facts.stripped)
        message = f"labels by which the operator finds its objects were missing and are put back: {names}"
        yield Announce(reason="LabelsRestored", message=message, warning=True)


def tend_storage(facts: Facts, config: VolumeConfig) -> Iterator[Action]:
    """Give the claims and pods of storage nodes that are missing; a pod that ended for good makes room first.

    Without an engine image no pod is made, and none gives way to one. Once the volume is sealed no claim is made: an
    empty disk cannot be the member that was lost with the old one.
    """
    pods = {p.name: p for p in facts.storage_pods}
    joins = newcomer(facts) if config.joining else None
    copies = {c.member.id: c for c in (*all_copies(facts), *([joins] if joins else []))}
    for member in (*config.members, *([config.joining.member] if config.joining else [])):
        if not config.sealed and not facts.live(CLAIM, member.name):
            yield Create(manifest=render_pvc(facts.cluster, member))
        pod, copy = pods.get(member.name), copies.get(member.id)
        if not facts.cluster.spec.image:
            continue
        if pod is None and (not config.sealed or (copy and is_usable(facts, copy))):
            yield Create(manifest=_storage_pod(facts, member, config))
        elif pod and pod.over and not pod.terminating:
            yield Delete(kind="Pod", name=pod.name, uid=pod.uid)
    yield from clear_up(facts)


def _storage_pod(facts: Facts, member: Member, config: VolumeConfig) -> Manifest:
    joins = config.joining is not None and config.joining.member.id == member.id
    apart, avoid = (nodes_taken(facts, config), nodes_barred(facts, config)) if joins else ((), ())
    pinned = not is_stand_in(member.zone)
    return render_storage_pod(facts.cluster, member, config, pinned=pinned, apart=apart, avoid=avoid)


def push_config(facts: Facts, config: VolumeConfig) -> Iterator[Action]:
    """Tell every pod that answers and knows an older configuration."""
    for pod in facts.pods:
        status = pod.instance_status or pod.storage_status
        if status and (Generation(status.generation), status.revision) < config.version:
            yield PushVolume(pod=pod, config=config)


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
    leaving = leaving_pods(facts) | restarting_pods(facts)
    to_readers = decide_reader_endpoint(live[1], to_writer, facts.instance_pods, leaving=leaving)
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
