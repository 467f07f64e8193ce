"""Where a Snapshot pins the log: behind every commit that was acknowledged before the Snapshot appeared.

The pin is D as the writer tells it after that moment. That the one asked was the only writer then is shown by the
storage nodes: as long as three of them have promised no later epoch, no later epoch has an owner (four must promise),
and D of the present reign covers all earlier ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from borealis_engine.contract.status import InstanceStatus, Role, StorageStatus
from borealis_engine.contract.volume import READ_QUORUM, format_lsn

from borealis_operator.api.snapshot import Snapshot
from borealis_operator.plan.conditions import condition, stamp_conditions

CREATING, AVAILABLE, FAILED = "creating", "available", "failed"
NOT_RESTORABLE = "this release cannot restore from a Snapshot; the log up to it is kept until the Snapshot is deleted"

Status: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A position below which everything is durable, and where the log that leads to it begins (0: not told)."""

    lsn: int
    epoch: int
    log_start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """No position can be given yet, for this reason."""

    reason: str
    message: str


def is_settled(snapshot: Snapshot) -> bool:
    """Whether its status is final: what was pinned never changes."""
    return snapshot.status.get("status") in (AVAILABLE, FAILED)


def decide_pin(writer: InstanceStatus | None, storage: Sequence[StorageStatus]) -> Pin | Wait:
    """Give the pin, from statuses that were all asked for after the Snapshot appeared."""
    if writer is None or writer.role is not Role.WRITER or not writer.ready:
        return Wait(reason="NoWriter", message="no instance is the writer now; it is taken as soon as there is one")
    bound = [s for s in storage if s.promised <= writer.epoch]
    if len(bound) < READ_QUORUM:
        told = f"{len(bound)} storage nodes confirm that {writer.name} is the writer, {READ_QUORUM} must"
        return Wait(reason="Unconfirmed", message=f"{told}; it is taken as soon as they do")
    starts = [s.log_start for s in storage if s.log_start]
    return Pin(lsn=writer.durable_lsn, epoch=writer.epoch, log_start=min(starts, default=0))


def render_taken(snapshot: Snapshot, pin: Pin, *, version: str, now: str) -> Status:
    """Give the status of a Snapshot that is pinned."""
    lsn, start = format_lsn(pin.lsn), format_lsn(pin.log_start)
    kept = {"logStart": start, "logBytes": max(pin.lsn - pin.log_start, 0)} if pin.log_start else {}
    message = f"pinned at {lsn}" + (f"; the volume keeps the log from {start} to there" if kept else "")
    return {
        **_render(snapshot, AVAILABLE, True, "Available", message, now=now),
        "lsn": lsn,
        "epoch": pin.epoch,
        "time": now,
        "engineVersion": version,
        **kept,
    }


def render_waiting(snapshot: Snapshot, wait: Wait, *, now: str) -> Status:
    """Give the status of a Snapshot that is not pinned yet."""
    return _render(snapshot, CREATING, False, wait.reason, wait.message, now=now)


def render_failed(snapshot: Snapshot, reason: str, message: str, *, now: str) -> Status:
    """Give the status of a Snapshot that can never be pinned."""
    return _render(snapshot, FAILED, False, reason, message, now=now)


def _render(snapshot: Snapshot, word: str, ready: bool, reason: str, message: str, *, now: str) -> Status:
    fresh = [
        condition("Ready", ready, reason, message),
        condition("Restorable", False, "NotAvailable", NOT_RESTORABLE),
    ]
    before = snapshot.status.get("conditions") or ()
    conditions = stamp_conditions(fresh, before, generation=snapshot.generation, now=now)
    return {"status": word, "restorable": False, "conditions": conditions}
