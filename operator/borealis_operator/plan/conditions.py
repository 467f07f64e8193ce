"""Conditions of a DBCluster: what holds, why, and what the user can do about it.

A condition keeps the time of its last transition as long as its status does not change.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from borealis_operator.api.errors import NameTaken, StateBroken
from borealis_operator.api.names import ca_name
from borealis_operator.plan.facts import Facts, Pod
from borealis_operator.plan.placement import ZONES, choose_volume_zones, is_stand_in, real_zones

Condition: TypeAlias = dict[str, Any]


def condition(kind: str, holds: bool, reason: str, message: str) -> Condition:
    """Give one condition, without its time."""
    return {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message}


def stamp_conditions(
    fresh: Sequence[Condition], before: Sequence[Mapping[str, Any]], *, generation: int, now: str
) -> list[Condition]:
    """Add observedGeneration and transition times, keeping those of conditions that did not change status."""
    old = {c["type"]: c for c in before}
    stamped = []
    for new in fresh:
        same = old.get(new["type"], {}).get("status") == new["status"]
        since = old[new["type"]].get("lastTransitionTime", now) if same else now
        stamped.append({**new, "observedGeneration": generation, "lastTransitionTime": since})
    return stamped


def zones_condition(facts: Facts) -> Condition:
    """Say whether the volume lies in three real zones."""
    members = [m.zone for m in facts.volume.config.members] if facts.volume else choose_volume_zones(facts.nodes)
    zones = sorted(set(members))
    if len(zones) == ZONES and not any(is_stand_in(z) for z in zones):
        return condition("ThreeZones", True, "Placed", f"two storage nodes in each of {', '.join(zones)}")
    there = real_zones(facts.nodes)
    message = (
        f"fewer than {ZONES} zones had nodes when the cluster was made, so Kubernetes nodes stand in for zones and the "
        "loss of a zone may end writing; have nodes that take pods in three zones, by the label "
        f"topology.kubernetes.io/zone (now: {', '.join(there) or 'none'}), and make a new cluster"
    )
    return condition("ThreeZones", False, "StandIns", message)


def writer_condition(writer: Pod | None, hold: str) -> Condition:
    """Say who writes, or why nobody does."""
    status = writer.instance_status if writer else None
    if writer and status and status.ready:
        return condition("WriterAvailable", True, "Writing", f"{writer.name} writes in epoch {status.epoch}")
    if writer and status:
        return condition("WriterAvailable", False, "NotReady", f"{writer.name}: {status.message or 'is not ready'}")
    return condition("WriterAvailable", False, "NoWriter", hold or "no instance is the writer")


def ready_condition(writer: Condition, *, database_set: bool, fault: str = "") -> Condition:
    """Say whether applications can connect as the master user and write; `fault` is what the setting up met with."""
    if writer["status"] == "False":
        return condition("Ready", False, writer["reason"], writer["message"])
    if not database_set:
        message = "master user and first database are being set up"
        return condition("Ready", False, "SettingUp", f"{message}: {fault}" if fault else message)
    return condition("Ready", True, "Available", "the writer endpoint takes connections")


def broken_condition(trouble: Exception | None) -> Condition | None:
    """Say that applications cannot rely on the cluster: what a failover or a new pod needs is damaged; else None."""
    if not isinstance(trouble, StateBroken | NameTaken):
        return None
    return condition("Ready", False, type(trouble).__name__, str(trouble)[:512])


def authority_condition(facts: Facts) -> Condition | None:
    """Say that no certificate can be issued any more; None while there is nothing to say."""
    name = ca_name(facts.cluster.name)
    if facts.live("Secret", name) or not facts.cluster.status.epoch:
        return None
    message = (
        f"Secret {name!r} with the key of the cluster's authority is gone: pods, new ones too, and clients go on with "
        "the certificates that there are, but none can be issued once they expire or their Secret is lost; restore it "
        "from a backup, or in a maintenance window delete all of the cluster's -tls- Secrets and its pods: that makes "
        "another authority"
    )
    return condition("CertificateAuthority", False, "Missing", message)


def reconciled_condition(error: str = "", reason: str = "") -> Condition:
    """Say whether the last pass went through."""
    if error:
        return condition("Reconciled", False, reason, error)
    return condition("Reconciled", True, "Done", "the last pass went through")
