"""Where the two endpoints lead: the writer endpoint to one address at most, and never back to an older epoch.

A thawed operator that still believes in an old writer finds a higher epoch on the live slice, and leaves it alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from borealis_engine.contract.status import Role

from borealis_operator.plan.facts import Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Addresses of one endpoint, sorted, and the epoch in which they hold."""

    addresses: tuple[str, ...]
    epoch: int


def heard_epoch(pods: Sequence[Pod]) -> int:
    """Give the highest epoch of which any instance has spoken; what bears a higher one is newer than our knowledge."""
    return max((status.epoch for p in pods if (status := p.instance_status)), default=0)


def decide_writer_endpoint(live: Endpoint | None, writer: Pod | None, pods: Sequence[Pod]) -> Endpoint:
    """Give the writer endpoint.

    A writer that does not answer this operator may still serve its clients, so its address stays until a higher epoch
    appears or its pod is known to be gone or something else.
    """
    before = live or Endpoint(addresses=(), epoch=0)
    status = writer.instance_status if writer else None
    if writer and status and status.epoch >= before.epoch:
        return Endpoint(addresses=(writer.ip,) if status.ready else (), epoch=status.epoch)
    if before.epoch > heard_epoch(pods) > 0:
        return before
    doubtful = {p.ip for p in pods if p.ip and not p.over and p.agent.suspect}
    return Endpoint(addresses=tuple(a for a in before.addresses if a in doubtful), epoch=before.epoch)


def decide_reader_endpoint(
    live: Endpoint | None, writer: Endpoint, pods: Sequence[Pod], *, leaving: Collection[str] = ()
) -> Endpoint:
    """Give the reader endpoint: every ready reader, or where the writer endpoint leads if there is none.

    `leaving` are names of pods that are about to end.
    """
    if live and live.epoch > heard_epoch(pods) > 0:
        return live
    ready = sorted(p.ip for p in pods if p.ip and not p.terminating and p.name not in leaving and _reads(p))
    return Endpoint(addresses=tuple(ready) or writer.addresses, epoch=writer.epoch)


def _reads(pod: Pod) -> bool:
    status = pod.instance_status
    return status is not None and status.role is Role.READER and status.ready
