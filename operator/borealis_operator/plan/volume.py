"""The volume's configuration: made once, sealed once, and afterwards only its address book moves.

Membership changes by compare-and-swap alone; a pass that lost the race observes again.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from borealis_engine.contract.names import LOG_PORT
from borealis_engine.contract.status import StorageState
from borealis_engine.contract.volume import MEMBERS, WRITE_QUORUM, Generation, Member, MemberId, VolumeConfig

from borealis_operator.api.names import storage_name
from borealis_operator.plan.facts import Node, Pod
from borealis_operator.plan.placement import choose_volume_zones

FORMATTED = (StorageState.EMPTY, StorageState.CATCHING_UP, StorageState.CURRENT)


def make_config(cluster: str, uid: str, nodes: Sequence[Node], *, entropy: str) -> VolumeConfig:
    """Give the first configuration: six fresh identities over three zones, not sealed."""
    zones = choose_volume_zones(nodes)
    return VolumeConfig(
        cluster_uid=uid,
        generation=Generation(0),
        revision=0,
        sealed=False,
        members=tuple(
            Member(id=member_id(entropy, index), name=storage_name(cluster, index), zone=zones[index])
            for index in range(MEMBERS)
        ),
    )


def rebuild_config(remembered: Mapping[str, VolumeConfig], uid: str) -> VolumeConfig | None:
    """Give the configuration of a lost ConfigMap from what members hold on their disks; None if that is not certain.

    It is the highest generation that four of its members have, and of it the newest address book. One that fewer have
    may be newer: then nothing is moved, for a storage node knows more than the ConfigMap.
    """
    held = [(member, config) for member, config in remembered.items() if config.cluster_uid == uid and config.sealed]
    for generation in sorted({config.generation for _, config in held}, reverse=True):
        those = [(member, config) for member, config in held if config.generation == generation]
        agreed = Counter(_essence(config) for member, config in those if member in {m.id for m in config.members})
        essence, count = agreed.most_common(1)[0] if agreed else (None, 0)
        if count >= WRITE_QUORUM:
            return max((c for _, c in those if _essence(c) == essence), key=lambda c: c.version)
    return None


def _essence(config: VolumeConfig) -> VolumeConfig:
    """Give a configuration less what moves within a generation."""
    members = tuple(replace(m, address="") for m in config.members)
    joining = config.joining and replace(config.joining, member=replace(config.joining.member, address=""))
    return replace(config, revision=0, members=members, joining=joining)


def member_id(entropy: str, index: int) -> MemberId:
    """Give 16 hex digits that no other member ever had."""
    return MemberId(hashlib.sha256(f"{entropy}/member/{index}".encode()).hexdigest()[:16])


def advance_config(config: VolumeConfig, pods: Sequence[Pod]) -> VolumeConfig:
    """Give the configuration that the storage pods now call for: sealed, or with new addresses, or the same."""
    book = _with_addresses(config, pods)
    if not config.sealed:
        return replace(book, sealed=True, generation=Generation(1), revision=1) if _formatted(config, pods) else config
    seen = known_versions(pods)
    revision = max([config.revision, *(r for g, r in seen.values() if g == config.generation)])
    if (later := later_generations(config, pods)) and is_kept(config, pods):
        return replace(book, generation=Generation(max(later.values()) + 1), revision=revision + 1)
    return config if book == config and revision == config.revision else replace(book, revision=revision + 1)


def known_versions(pods: Sequence[Pod]) -> dict[str, tuple[int, int]]:
    """Give which configuration each pod that answers says that it knows, as (generation, revision)."""
    said = {p.name: p.instance_status or p.storage_status for p in pods}
    return {name: (s.generation, s.revision) for name, s in said.items() if s}


def later_generations(config: VolumeConfig, pods: Sequence[Pod]) -> dict[str, int]:
    """Give who knows a later generation than the ConfigMap has: it was put back from a backup, or they are damaged."""
    return {name: g for name, (g, _) in known_versions(pods).items() if g > config.generation}


def is_kept(config: VolumeConfig, pods: Sequence[Pod]) -> bool:
    """Whether four members live by exactly this generation: then no later one decided anything, and none ever will.

    Members never go back, and a later generation needs four of these six. So it may be passed over by a higher number.
    """
    said = known_versions(pods)
    return sum(said.get(m.name, (0, 0))[0] == config.generation for m in config.members) >= WRITE_QUORUM


def tell_later(config: VolumeConfig, pods: Sequence[Pod]) -> str:
    """Say who knows a configuration that the ConfigMap does not, and the remedy; empty if nobody does."""
    later = later_generations(config, pods)
    if not later:
        return ""
    who = ", ".join(f"{name} knows configuration {g}" for name, g in sorted(later.items()))
    told = f"{who}, and the ConfigMap has {config.generation}"
    if is_kept(config, pods):
        return f"{told}: four storage nodes live by it, so it is written anew as {max(later.values()) + 1}"
    return (
        f"{told}: it was put back from a backup that is too old, so nobody is replaced and no address is told; put the "
        "first line of volume.json on those storage nodes' disks (borealis-storage inspect shows it) into the ConfigMap"
    )


def _with_addresses(config: VolumeConfig, pods: Sequence[Pod]) -> VolumeConfig:
    seen = {p.name: f"{p.ip}:{LOG_PORT}" for p in pods if p.ip and not p.over and not p.terminating}
    members = tuple(replace(m, address=seen.get(m.name, m.address)) for m in config.members)
    joining = config.joining
    if joining:
        address = seen.get(joining.member.name, joining.member.address)
        joining = replace(joining, member=replace(joining.member, address=address))
    return replace(config, members=members, joining=joining)


def _formatted(config: VolumeConfig, pods: Sequence[Pod]) -> bool:
    """Whether all six members have said that they hold a disk formatted as theirs."""
    said = {s.member for p in pods if (s := p.storage_status) and s.state in FORMATTED}
    return said == {m.id for m in config.members}
