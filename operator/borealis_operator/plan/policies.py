"""The cluster's NetworkPolicy: kept while the operator knows its own place in the network, else taken away.

Which of the two is decided where the operator is installed (`networkPolicies.enabled` of the chart).
"""

from collections.abc import Iterator

from borealis_operator.api.clients import FIELD
from borealis_operator.plan.actions import Action, Apply, Create, Delete
from borealis_operator.plan.facts import Facts
from borealis_operator.render.labels import is_owned
from borealis_operator.render.policies import POLICY, policy_name, render_policy


def tend_policy(facts: Facts) -> Iterator[Action]:
    """Give what makes the NetworkPolicy as asked, or takes it away.

    While `spec.allowedClients` cannot be read, what is there stays; where nothing is, no client gets in.
    """
    cluster, operator = facts.cluster, facts.operator_peer
    live = facts.live(POLICY, policy_name(cluster.name))
    if operator is None:
        if live and is_owned(live, cluster.uid):
            yield Delete(kind=POLICY, name=live["metadata"]["name"], uid=live["metadata"]["uid"])
        return
    unread = any(fault.field == FIELD for fault in facts.faults)
    wanted = render_policy(cluster, operator, () if unread else cluster.spec.clients)
    if live is None:
        yield Create(manifest=wanted)
    elif not unread and live.get("spec") != wanted["spec"]:  # exactly: a peer that is there too many lets somebody in
        yield Apply(manifest=wanted)
