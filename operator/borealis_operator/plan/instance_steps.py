"""The steps of a pass that concern instances: DBInstances to make, adopt and delete, then their pods.

A user's DBInstance that asks for what cannot be gets no pod, and is in nobody's way.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from borealis_engine.contract.volume import WRITE_QUORUM, VolumeConfig

from borealis_operator.api.cluster import Cluster
from borealis_operator.api.instance import Instance
from borealis_operator.api.names import LABEL_CLUSTER, SERVER, tls_name
from borealis_operator.plan.actions import Action, Announce, Create, Delete, Patch
from borealis_operator.plan.copies import heard_members
from borealis_operator.plan.departure import is_offered, plan_instance_set
from borealis_operator.plan.facts import Facts, Node
from borealis_operator.plan.placement import choose_instance_zone, is_stand_in
from borealis_operator.plan.replacement import Replacement, plan_replacement, pod_suffix
from borealis_operator.plan.roster import Place, assign_places
from borealis_operator.plan.settings import wanted_settings
from borealis_operator.render.clients import equip
from borealis_operator.render.metadata import owner_reference
from borealis_operator.render.objects import render_instance
from borealis_operator.render.pods import render_instance_pod


def tend_instances(facts: Facts) -> Iterator[Action]:
    """Give DBInstances to make, adopt and delete."""
    planned = plan_instance_set(facts)
    for name in planned.create:
        yield Create(manifest=render_instance(facts.cluster, name))
    for instance in planned.delete:
        yield Delete(kind="DBInstance", name=instance.name, uid=instance.uid)
    for instance in facts.instances:
        if not instance.owned and not instance.deleting:
            yield _adopt(facts.cluster, instance)


def _adopt(cluster: Cluster, instance: Instance) -> Patch:
    """Have a user's DBInstance go with the cluster, next to whomever else it belongs to; one of them controls."""
    free = not any(owner.get("controller") for owner in instance.owners)
    owners = [*instance.owners, owner_reference(cluster) | {"controller": free}]
    metadata = {"labels": {LABEL_CLUSTER: cluster.name}, "ownerReferences": owners, "resourceVersion": instance.version}
    return Patch(kind="DBInstance", name=instance.name, body={"metadata": metadata})


def tend_instance_pods(facts: Facts, config: VolumeConfig) -> Iterator[Action]:
    """Give pods to delete and to make, each new one counted before the next is placed; no image, no replacement."""
    cut_off = heard_members(facts) < WRITE_QUORUM
    places = {place.instance.name: place for place in assign_places(facts)}
    filled = {p.instance for p in facts.instance_pods if not p.terminating}
    vacant = any(place.staffed and name not in filled for name, place in places.items())
    plan = plan_replacement(
        facts.instance_pods, facts.instances, facts.nodes, now=facts.now, cut_off=cut_off, vacant=vacant
    )
    image = bool(facts.cluster.spec.image)
    losses = [loss for loss in plan.losses if image or not loss.replaced]
    for loss in losses:
        if not loss.replaced and is_offered(facts, loss.pod):
            continue  # this pass takes it out of the endpoint, a later one deletes it
        reason = "InstanceReplaced" if loss.replaced else "InstanceRemoved"
        yield Announce(reason=reason, message=f"{loss.pod.name} is deleted: {loss.reason}")
        yield Delete(kind="Pod", name=loss.pod.name, uid=loss.pod.uid)
    ground = _Ground.survey(facts, config, plan, {loss.pod.name for loss in losses})
    for instance in plan.bare if image else ():
        if (place := places[instance.name]).staffed:
            yield _make_pod(facts, config, place, ground)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """Where new pods may go; `placed` grows with each."""

    zones: tuple[str, ...]
    nodes: tuple[Node, ...]
    avoid: frozenset[str]  # host names
    full: frozenset[str]
    writer_zone: str
    placed: list[str] = field(default_factory=list)

    @classmethod
    def survey(cls, facts: Facts, config: VolumeConfig, plan: Replacement, lost: Collection[str]) -> "_Ground":
        return cls(
            zones=tuple(m.zone for m in config.members),
            nodes=tuple(n for n in facts.nodes if n.name not in plan.avoid),
            avoid=frozenset(n.hostname for n in facts.nodes if n.name in plan.avoid),
            full=plan.full,
            writer_zone=facts.writer.zone if facts.writer else "",
            placed=[p.zone for p in facts.instance_pods if p.name not in lost and not p.terminating],
        )

    def choose(self) -> str:
        zone = choose_instance_zone(self.zones, self.nodes, self.placed, writer_zone=self.writer_zone, full=self.full)
        self.placed.append(zone)
        return zone


def _make_pod(facts: Facts, config: VolumeConfig, place: Place, ground: _Ground) -> Create:
    instance, zone = place.instance, ground.choose()
    assert place.size.resources is not None
    pod = render_instance_pod(
        facts.cluster,
        instance.name,
        f"{instance.name}-{pod_suffix(facts.entropy, instance.name)}",
        config,
        zone=zone,
        pinned=not is_stand_in(zone),
        avoid=ground.avoid,
        resources=place.size.resources,
    )
    server_tls = facts.live("Secret", tls_name(facts.cluster.name, SERVER)) is not None
    return Create(manifest=equip(pod, wanted_settings(facts), server_tls=server_tls))
