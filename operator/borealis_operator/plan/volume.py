"""The volume's configuration: made once, sealed once, and afterwards only its address book moves.

Membership changes by compare-and-swap alone; a pass that lost the race observes again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from borealis_engine.contract.names import LOG_PORT
from borealis_engine.contract.status import StorageState
from borealis_engine.contract.volume import MEMBERS, Generation, Member, MemberId, VolumeConfig

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


def member_id(entropy: str, index: int) -> MemberId:
    """Give 16 hex digits that no other member ever had."""
    return MemberId(hashlib.sha256(f"{entropy}/member/{index}".encode()).hexdigest()[:16])


def advance_config(config: VolumeConfig, pods: Sequence[Pod]) -> VolumeConfig:
    """Give the configuration that the storage pods now call for: sealed, or with new addresses, or the same."""
    book = _with_addresses(config, pods)
    if not config.sealed:
        return replace(book, sealed=True, generation=Generation(1), revision=1) if _formatted(config, pods) else config
    return config if book == config else replace(book, revision=config.revision + 1)


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
