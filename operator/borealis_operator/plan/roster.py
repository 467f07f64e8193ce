"""What each DBInstance is entitled to: a pod of which size, or none and why.

A cluster has 16 instances at most, whoever made them. The operator makes room for those of users by making fewer of its
own; of more than that the oldest get pods. Whoever has a pod keeps it: a mistake stops what would come, not what is.
"""

import re
from dataclasses import dataclass
from typing import Final

from borealis_operator.api.autoscaling import MAX_READERS
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.instance import Instance
from borealis_operator.api.names import instance_name
from borealis_operator.plan.facts import Facts
from borealis_operator.plan.sizing import CLUSTER_FIELD, Size, class_fault, decide_size

LIMIT: Final = MAX_READERS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One DBInstance in its cluster; `excess`: there are too many before it."""

    instance: Instance
    size: Size
    excess: bool

    @property
    def staffed(self) -> bool:
        """Whether a pod is made if there is none."""
        return not self.excess and self.size.resources is not None


def assign_places(facts: Facts) -> tuple[Place, ...]:
    """Give the place of each DBInstance that is not being deleted; the writer and the oldest ones come first."""
    present = [i for i in facts.instances if not i.deleting]
    writer = facts.writer.instance if facts.writer else ""
    order = sorted(present, key=lambda i: (i.name != writer, not i.generated, i.created, i.name))
    spec, classes = facts.cluster.spec, facts.classes
    return tuple(
        Place(instance=instance, size=decide_size(spec, instance, classes), excess=number >= LIMIT)
        for number, instance in enumerate(order)
    )


def class_faults(facts: Facts) -> tuple[ConfigInvalid, ...]:
    """Say that the cluster's own class is unknown; those of single DBInstances are told on them."""
    asked = facts.cluster.spec.instance_class
    known = not asked or asked in facts.classes
    return () if known else (class_fault(CLUSTER_FIELD, asked, facts.classes),)


def has_generated_form(cluster: str, name: str) -> bool:
    """Whether a name is one that the operator itself might choose."""
    return bool(re.fullmatch(re.escape(instance_name(cluster, 0)[:-1]) + "[1-9][0-9]*", name))
