"""The steps by which a storage node is replaced, each one write by compare-and-swap, and what they leave behind.

The claim of the new one is made before the configuration names it. So a new one without its claim has lost its disk,
whatever crashed when, and nothing ever formats a disk twice for one identity. A configuration is followed by the next
one, and cleared up after, only once four of its members have taken it over.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from borealis_engine.contract.volume import WRITE_QUORUM, Generation, Joining, Member, MemberId, VolumeConfig

from borealis_operator.api.names import storage_name
from borealis_operator.api.quantities import parse_bytes
from borealis_operator.plan.actions import Announce, Create, Delete
from borealis_operator.plan.copies import CLAIM, Copy, Fate, all_copies, newcomer
from borealis_operator.plan.facts import Facts, Manifest, Node
from borealis_operator.plan.healing import (
    Begin,
    Complete,
    Decision,
    GiveUp,
    Stay,
    decide_joining,
    decide_replacement,
)
from borealis_operator.plan.placement import is_stand_in
from borealis_operator.plan.volume import member_id, tell_later
from borealis_operator.render.labels import is_owned
from borealis_operator.render.pods import render_pvc


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next configuration, what must be there before it is written, and what is said once it is."""

    config: VolumeConfig
    claim: Create | None
    told: Announce


def decide(facts: Facts) -> Decision:
    """Say what is to become of the membership now."""
    if facts.volume is None or not facts.volume.config.sealed:
        return Stay()
    config, delay = facts.volume.config, facts.cluster.spec.storage.replacement_delay_s
    copies, new = all_copies(facts), newcomer(facts)
    if config.joining is None or new is None:
        decision: Decision = decide_replacement(copies, delay=delay, roomy=_roomy(facts, copies))
    else:
        old = next(c for c in copies if c.member.id == config.joining.replaces)
        generation = int(config.generation)
        decision = decide_joining(old, new, generation=generation, delay=delay, far=is_far(new, copies))
    if isinstance(decision, Stay):
        return decision
    if isinstance(decision, Begin) and not facts.cluster.spec.image:
        return Stay(reason="the operator has no engine image for the version that runs")
    return decision if is_adopted(facts, config) else Stay(reason=_not_adopted(facts, config))


def is_adopted(facts: Facts, config: VolumeConfig) -> bool:
    """Whether four members live by exactly this generation, and no storage node has heard of a later one.

    A later one means that the configuration was put back from a backup: then it does not say who the members are.
    """
    said = {p.name: int(s.generation) for p in facts.storage_pods if (s := p.storage_status)}
    taken = sum(1 for m in config.members if said.get(m.name) == config.generation)
    return taken >= WRITE_QUORUM and max(said.values()) <= config.generation


def _not_adopted(facts: Facts, config: VolumeConfig) -> str:
    if later := tell_later(config, facts.pods):
        return later
    return f"four storage nodes must first take configuration {config.generation} over"


def is_far(new: Copy, copies: tuple[Copy, ...]) -> bool:
    """Whether the new one holds more than half of the log."""
    known = [c.status for c in copies if c.status]
    end = max((s.durable_lsn for s in known), default=0)
    start = min((s.log_start for s in known if s.log_start), default=0)
    held = new.status.flush_lsn if new.status else 0
    return bool(held) and end > start and (held - start) * 2 > end - start


def _roomy(facts: Facts, copies: Sequence[Copy]) -> frozenset[MemberId]:
    """Give the members in whose zone a new one finds a Kubernetes node: another one if it is to replace a slow one."""
    return frozenset(copy.member.id for copy in copies if any(_takes(node, copy) for node in facts.nodes))


def _takes(node: Node, copy: Copy) -> bool:
    if not (node.ready and node.schedulable) or (copy.slow and node.name == copy.node):
        return False
    return is_stand_in(copy.member.zone) or node.zone == copy.member.zone


def plan_step(facts: Facts, config: VolumeConfig) -> Step | None:
    """Give the step that is due; `config` is the present one with its address book of now."""
    decision = decide(facts)
    match decision:
        case Begin():
            return _begin(facts, config, decision)
        case Complete():
            return _complete(config, decision)
        case GiveUp():
            return _give_up(config, decision)
        case Stay():
            return None


def _begin(facts: Facts, config: VolumeConfig, decision: Begin) -> Step:
    old = decision.copy.member
    number = next_ordinal(facts, config)
    member = Member(id=member_id(facts.entropy, number), name=storage_name(facts.cluster.name, number), zone=old.zone)
    joins = replace(_next(config), joining=Joining(member=member, replaces=old.id))
    claim = Create(manifest=render_pvc(facts.cluster, member, size=claim_size(facts)))
    message = f"{member.name} takes the place of {old.name} in zone {old.zone}: {decision.reason}"
    return Step(config=joins, claim=claim, told=Announce(reason="ReplacementStarted", message=message, warning=True))


def _complete(config: VolumeConfig, decision: Complete) -> Step:
    assert config.joining
    new, replaces = config.joining.member, config.joining.replaces
    old = next(m.name for m in config.members if m.id == replaces)
    members = tuple(new if m.id == replaces else m for m in config.members)
    message = f"{new.name} has taken the place of {old}: {decision.reason}"
    told = Announce(reason="ReplacementCompleted", message=message)
    return Step(config=replace(_next(config), members=members, joining=None), claim=None, told=told)


def _give_up(config: VolumeConfig, decision: GiveUp) -> Step:
    assert config.joining
    new, replaces = config.joining.member, config.joining.replaces
    old = next(m.name for m in config.members if m.id == replaces)
    message = f"{new.name} does not take the place of {old}: {decision.reason}"
    told = Announce(reason="ReplacementGivenUp", message=message, warning=True)
    return Step(config=replace(_next(config), joining=None), claim=None, told=told)


def _next(config: VolumeConfig) -> VolumeConfig:
    return replace(config, generation=Generation(config.generation + 1), revision=config.revision + 1)


def next_ordinal(facts: Facts, config: VolumeConfig) -> int:
    """Give the number after the highest that a member, a pod or a claim bears: what is still going keeps its name."""
    bearers = [m.name for m in config.members] + [p.name for p in facts.storage_pods]
    bearers += [name for kind, name in facts.objects if kind == CLAIM]
    bearers += [config.joining.member.name] if config.joining else []
    form = _name_form(facts)
    return 1 + max(int(found[1]) for name in bearers if (found := form.fullmatch(name)))


def claim_size(facts: Facts) -> str:
    """Give the size of a new claim: the spec's, or that of the largest claim there is, if users enlarged them."""
    sizes = [facts.cluster.spec.storage.size]
    for member in facts.volume.config.members if facts.volume else ():
        claim = facts.live(CLAIM, member.name)
        asked = claim["spec"].get("resources", {}).get("requests", {}).get("storage") if claim else None
        sizes += [str(asked)] if asked else []
    return max(sizes, key=_bytes)


def _bytes(size: str) -> int:
    try:
        return parse_bytes(size)
    except ValueError:
        return 0


def nodes_taken(facts: Facts, config: VolumeConfig) -> frozenset[str]:
    """Give host names of Kubernetes nodes that a new storage node had better not go to.

    They hold another member already; the one of the member that it replaces counts only if that one's disk failed.
    """
    return _hosts(facts, {c.node for c in all_copies(facts) if c.failed or not _is_replaced(c, config)})


def nodes_barred(facts: Facts, config: VolumeConfig) -> frozenset[str]:
    """Give host names of Kubernetes nodes that a new storage node must not go to: where the one it replaces is slow."""
    return _hosts(facts, {c.node for c in all_copies(facts) if c.slow and _is_replaced(c, config)})


def _is_replaced(copy: Copy, config: VolumeConfig) -> bool:
    return config.joining is not None and copy.member.id == config.joining.replaces


def _hosts(facts: Facts, names: Collection[str]) -> frozenset[str]:
    return frozenset(n.hostname for n in facts.nodes if n.name in names)


def clear_up(facts: Facts) -> Iterator[Delete]:
    """Give the storage pods and claims that belong to no member any more, once nobody counts them.

    Only what the operator made, by owner and name, and only once four members live by a configuration without it.
    """
    if facts.volume is None or not facts.volume.config.sealed or not is_adopted(facts, facts.volume.config):
        return
    config = facts.volume.config
    kept = {m.name for m in config.members} | ({config.joining.member.name} if config.joining else set())
    for pod in facts.storage_pods:
        if pod.name not in kept and not pod.terminating and _is_own(facts, "Pod", pod.name):
            yield Delete(kind="Pod", name=pod.name, uid=pod.uid)
    for kind, name in sorted(facts.objects):
        live = facts.objects[kind, name]
        if kind == CLAIM and name not in kept and not _is_going(live) and _is_own(facts, CLAIM, name):
            yield Delete(kind=CLAIM, name=name, uid=live["metadata"]["uid"])


def _is_going(live: Manifest) -> bool:
    return bool(live["metadata"].get("deletionTimestamp"))


def _is_own(facts: Facts, kind: str, name: str) -> bool:
    live = facts.live(kind, name)
    return bool(_name_form(facts).fullmatch(name)) and live is not None and is_owned(live, facts.cluster.uid)


def _name_form(facts: Facts) -> re.Pattern[str]:
    return re.compile(re.escape(storage_name(facts.cluster.name, 0)[:-1]) + r"([0-9]{1,6})")


def is_usable(facts: Facts, copy: Copy) -> bool:
    """Whether a pod may be made for the copy: with a claim that stays, since no other disk may bear its identity."""
    claim = facts.live(CLAIM, copy.member.name)
    return claim is not None and not _is_going(claim) and not (copy.fate is Fate.LOST and copy.status is None)
