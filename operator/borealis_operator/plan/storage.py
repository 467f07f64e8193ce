"""What is said of the storage nodes: whether six of six are good, and if not which, where, since when, what is done.

All words come from `copies` and from the decision about the membership, so that what is said is what is done.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from borealis_engine.contract.volume import MEMBERS, WRITE_QUORUM

from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.copies import Copy, Fate, all_copies, good_states, newcomer, shared_cause, told_before
from borealis_operator.plan.facts import Facts
from borealis_operator.plan.healing import Begin, Stay, is_due
from borealis_operator.plan.membership import decide
from borealis_operator.plan.volume import tell_later
from borealis_operator.render.objects import rfc3339

REPLACEMENT: Final = "StorageReplacement"
QUARTERS: Final = 4  # of the delay, in which waiting is written down: a restart of the operator costs one at most


def serving_members(facts: Facts) -> int:
    """Count the storage nodes that hold all that a member should hold now."""
    return sum(1 for copy in all_copies(facts) if copy.good)


def storage_condition(facts: Facts) -> Condition:
    """Say how many of the six storage nodes are current, what ails the others, and what is done about it."""
    if facts.volume is None or not facts.volume.config.sealed:
        return condition("StorageHealthy", False, "Formatting", f"waiting for all {MEMBERS} storage nodes to format")
    copies, count = all_copies(facts), serving_members(facts)
    ailing = "; ".join(_tell(facts, c) for c in copies if c.problem)
    message = f"{count} of {MEMBERS} storage nodes are current"
    if count < WRITE_QUORUM:
        message += (
            f" and {WRITE_QUORUM} are needed: no commit is acknowledged; writing goes on by itself once "
            f"{_more(WRITE_QUORUM - count)} back"
        )
    message += f": {ailing}" if ailing else ""
    if later := tell_later(facts.volume.config, facts.pods):
        return condition("StorageHealthy", False, "ConfigurationUnknown", f"{message}; {later}")
    if count == MEMBERS:
        slow = any(c.slow for c in copies)
        return condition("StorageHealthy", True, "SomeSlow" if slow else "AllCurrent", message)
    return condition("StorageHealthy", False, "Degraded" if count >= WRITE_QUORUM else "NoWriteQuorum", message)


def replacement_condition(facts: Facts) -> Condition | None:
    """Say whose place is being taken by whom; None while that is not so."""
    joining, new = facts.volume.config.joining if facts.volume else None, newcomer(facts)
    if joining is None or new is None:
        return None
    old = next(c for c in all_copies(facts) if c.member.id == joining.replaces)
    decision = decide(facts)
    message = (
        f"{new.member.name} takes the place of {old.member.name} in zone {new.member.zone}, since "
        f"{_since(facts, new)}: {decision.reason}"
    )
    return condition(REPLACEMENT, True, "Joining", message)


def render_storage_nodes(facts: Facts) -> list[dict[str, Any]]:
    """Give an entry for each storage node, and for one that joins; only what changes rarely."""
    new = newcomer(facts)
    entries = [
        _render(facts, c, f"{c.problem}; {done}" if (done := _done(facts, c)) else c.problem) for c in all_copies(facts)
    ]
    if new and facts.volume and facts.volume.config.joining:
        old = next(m.name for m in facts.volume.config.members if m.id == facts.volume.config.joining.replaces)
        told = f"takes the place of {old}" + (f"; {new.problem}" if new.problem else "")
        entries.append(_render(facts, new, told))
    return entries


def _render(facts: Facts, copy: Copy, message: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": copy.member.name,
        "id": str(copy.member.id),
        "zone": copy.member.zone,
        "node": copy.node,
        "state": copy.state,
        "since": _since(facts, copy),
        "message": message,
    }
    step = max(facts.cluster.spec.storage.replacement_delay_s / QUARTERS, 1.0)
    waited = int(copy.waited // step * step)
    return entry | ({"waitedSeconds": waited} if waited else {})


def _tell(facts: Facts, copy: Copy) -> str:
    """Say of one member what ails it, where it is, since when, and what is done."""
    place = f"zone {copy.member.zone}" + (f", node {copy.node}" if copy.node else "")
    place += "" if copy.slow else f", since {_since(facts, copy)}"
    done = _done(facts, copy)
    return f"{copy.member.name} {copy.problem} ({place})" + (f", {done}" if done else "")


def _done(facts: Facts, copy: Copy) -> str:
    """Say what is being done about a member that is not as it should be; empty if nothing needs to be."""
    config = facts.volume.config if facts.volume else None
    if not copy.problem or config is None or not config.sealed:
        return ""
    joining = config.joining
    if joining:
        ours = copy.member.id == joining.replaces
        busy = f"it is looked at once {joining.member.name} has joined" if _is_lasting(copy) else ""
        return f"{joining.member.name} takes its place" if ours else busy
    delay = facts.cluster.spec.storage.replacement_delay_s
    cause = shared_cause(copy, all_copies(facts))
    if not cause and is_due(copy, delay):
        decision = decide(facts)
        if isinstance(decision, Begin):
            ours = decision.copy.member.id == copy.member.id
            return "a new one takes its place" if ours else f"a new one takes its place after {_first(decision)}'s"
        return decision.reason if isinstance(decision, Stay) else ""
    if copy.fate is Fate.AILING:
        return cause or f"a new one takes its place if that lasts for {delay:.0f} s (spec.storage.replacementDelay)"
    return "enlarge its claim, then delete the pod" if copy.fate is Fate.FULL else ""


def _is_lasting(copy: Copy) -> bool:
    return copy.fate in (Fate.LOST, Fate.AILING)


def _first(decision: Begin) -> str:
    return decision.copy.member.name


def _since(facts: Facts, copy: Copy) -> str:
    """Give since when the copy is good, or is not."""
    before: Mapping[str, Any] = told_before(facts, copy.member)
    good: Sequence[str] = [state.value for state in good_states(facts)]
    same = before.get("since") and (before.get("state") in good) == copy.good
    return str(before["since"]) if same else rfc3339(facts.now)


def _more(count: int) -> str:
    return "one more is" if count == 1 else f"{count} more are"
