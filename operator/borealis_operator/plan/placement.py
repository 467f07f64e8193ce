"""Where pods go: storage nodes evenly over three zones, instances spread, the writer's zone last.

Without three zones, three stand-ins take their place: names without a Kubernetes zone behind them, whose pods are
kept apart by anti-affinity alone. The zones of a volume are chosen once and live in its configuration.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from borealis_engine.contract.volume import MEMBERS

from borealis_operator.plan.facts import Node

ZONES: Final = 3
STAND_INS: Final = ("stand-in-1", "stand-in-2", "stand-in-3")


def real_zones(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Give the zones that have a node which takes pods, the best equipped first."""
    count = Counter(n.zone for n in nodes if n.zone and n.ready and n.schedulable)
    return tuple(sorted(count, key=lambda zone: (-count[zone], zone)))


def choose_volume_zones(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Choose a zone for each of the six members: two in each of three zones or stand-ins."""
    zones = real_zones(nodes)[:ZONES]
    if len(zones) < ZONES:
        zones = STAND_INS
    chosen = sorted(zones)
    return tuple(chosen[index % ZONES] for index in range(MEMBERS))


def is_stand_in(zone: str) -> bool:
    """Whether no Kubernetes zone is behind this name."""
    return zone in STAND_INS


def choose_instance_zone(
    volume_zones: Collection[str],
    nodes: Sequence[Node],
    taken: Sequence[str],
    *,
    writer_zone: str,
    full: Collection[str] = (),
) -> str:
    """Choose the zone of a new instance pod: fewest instances first, the writer's zone last, then by name.

    `taken` has the zone of each instance pod there is. Zones of the volume that have a node which takes pods come
    before those that have none, and zones that were asked in vain, `full`, between them.
    """
    usable = set(real_zones(nodes)) | set(STAND_INS)
    count = Counter(taken)
    return min(sorted(set(volume_zones)), key=lambda z: (z not in usable, z in full, count[z], z == writer_zone, z))
