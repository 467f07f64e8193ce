"""How an instance goes: out of the reader endpoint first, its DBInstance next, its pod in a later pass.

So no client is sent to a reader that is about to end, and those that are there learn of the end from its agent.
"""

from borealis_engine.contract.status import Role

from borealis_operator.api.names import reader_service
from borealis_operator.plan.facts import Facts, Pod
from borealis_operator.plan.instances import InstanceSet, plan_instances
from borealis_operator.render.endpoints import read_slice


def plan_instance_set(facts: Facts) -> InstanceSet:
    """Give the DBInstances to make and to delete now."""
    cluster, writer = facts.cluster, facts.writer
    return plan_instances(
        cluster.name,
        cluster.spec.wanted_readers,
        facts.instances,
        writer=writer.instance if writer else "",
        taken=facts.taken,
    )


def leaving_pods(facts: Facts) -> frozenset[str]:
    """Give the names of the pods that no new connection should reach, because their DBInstance is gone or going."""
    if not facts.volume or not facts.volume.config.sealed:
        return frozenset()
    going = {i.name for i in plan_instance_set(facts).delete}
    staying = {i.name for i in facts.instances if not i.deleting} - going
    return frozenset(p.name for p in facts.instance_pods if p.instance not in staying)


def is_offered(facts: Facts, pod: Pod) -> bool:
    """Whether the reader endpoint, as this pass found it, leads to a pod because it is a reader."""
    live = facts.live("EndpointSlice", reader_service(facts.cluster.name))
    return live is not None and pod.plays(Role.READER) and pod.ip in read_slice(live)[0]
