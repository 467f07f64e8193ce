"""The NetworkPolicy of a cluster: who may reach which port of its pods. What pods may reach is not its business.

Every port but PostgreSQL's and that of the probes is under mutual TLS too: the policy keeps strangers from costing
anything, and the keys of the cluster's authority are not all that stands before the volume.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from borealis_engine.contract.names import CONTROL_PORT, LOG_PORT, POSTGRES_PORT, PROBE_PORT

from borealis_operator.api.clients import Peer
from borealis_operator.api.cluster import Cluster
from borealis_operator.api.names import LABEL_CLUSTER
from borealis_operator.render.metadata import Object, render_metadata

POLICY: Final = "NetworkPolicy"


def policy_name(cluster: str) -> str:
    """Name of the NetworkPolicy that the operator makes."""
    return cluster


def render_policy(cluster: Cluster, operator: Mapping[str, Any], clients: Sequence[Peer] | None) -> Object:
    """Give the NetworkPolicy; `operator` is the operator's own peer, `clients` None lets everybody connect.

    The probes' port is open to all: kubelets come from nodes, which no selector names, monitoring from a namespace that
    we do not know, and neither can change anything there.
    """
    own = {"podSelector": {"matchLabels": {LABEL_CLUSTER: cluster.name}}}
    rules: list[Object] = [
        {"from": [own, dict(operator)], "ports": [_port(LOG_PORT), _port(CONTROL_PORT)]},
        {"ports": [_port(PROBE_PORT)]},
    ]
    if clients is None:
        rules.append({"ports": [_port(POSTGRES_PORT)]})
    elif clients:
        rules.append({"from": [dict(peer) for peer in clients], "ports": [_port(POSTGRES_PORT)]})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": POLICY,
        "metadata": render_metadata(cluster, policy_name(cluster.name)),
        "spec": {
            "podSelector": {"matchLabels": {LABEL_CLUSTER: cluster.name}},
            "policyTypes": ["Ingress"],
            "ingress": rules,
        },
    }


def _port(number: int) -> Object:
    return {"port": number, "protocol": "TCP"}
