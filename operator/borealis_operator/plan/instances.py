"""Which DBInstances there should be: one per generated instance, plus those that users added.

The generated ones number `readers` + 1, the instance that writes being one of them; the writer is never taken away by
scaling in, whoever made it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from borealis_operator.api.autoscaling import MAX_READERS
from borealis_operator.api.instance import Instance
from borealis_operator.api.names import instance_name


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSet:
    """DBInstances to make, by name, and to delete."""

    create: tuple[str, ...]
    delete: tuple[Instance, ...]


def plan_instances(
    cluster: str, readers: int, instances: Sequence[Instance], *, writer: str, taken: Collection[str] = ()
) -> InstanceSet:
    """Give what is missing and what is too much; `writer` is the name of the writing DBInstance, or empty.

    `taken` are names of others, which the operator passes over.

    Scale-in takes the highest promotion tier first, then the newest, and waits while nobody is known to write.
    """
    added = sum(1 for i in instances if not i.generated and not i.deleting)
    wanted = max(0, min(readers, MAX_READERS - added)) + 1
    generated = [i for i in instances if i.generated and not i.deleting]
    used = {i.name for i in instances} | set(taken)
    free = (name for n in range(1, 1000) if (name := instance_name(cluster, n)) not in used)
    create = tuple(next(free) for _ in range(wanted - len(generated)))
    surplus = sorted((i for i in generated if i.name != writer), key=lambda i: (-i.tier, -i.created, -_number(i.name)))
    excess = max(0, len(generated) - wanted) if writer else 0
    return InstanceSet(create=create, delete=tuple(surplus[:excess]))


def _number(name: str) -> int:
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0
