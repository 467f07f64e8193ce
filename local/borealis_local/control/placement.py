"""The scheduler's choice, as a pure function: which node a pod goes to, or why none will do.

Filters and their messages are kube-scheduler's. Among the nodes that remain, preferences weigh first, then how few pods
a node has, then its name.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from borealis_local.machinery.quantities import quantity, requests
from borealis_local.machinery.selectors import label_selector, node_expression

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Placed:
    """The pod goes to this node."""

    node: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    """No node will do, for these reasons."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the scheduler sees."""

    nodes: Sequence[Object]
    pods: Sequence[Object]  # those that are bound to a node
    volumes: Sequence[Object] = ()  # persistent volumes that the pod's claims are bound to

    def labels_of(self, node: str) -> Mapping[str, str]:
        """Give a node's labels."""
        return next((_labels(n) for n in self.nodes if n["metadata"]["name"] == node), {})


def place(pod: Object, cluster: Cluster) -> Placed | Unplaced:
    """Choose a node for a pod."""
    reasons: Counter[str] = Counter()
    fitting = []
    for node in cluster.nodes:
        found = _unfit(pod, node, cluster)
        if not found:
            fitting.append(node)
        reasons.update(found)
    if not fitting:
        told = ", ".join(f"{n} {r}" for r, n in sorted(reasons.items()))
        return Unplaced(f"0/{len(cluster.nodes)} nodes are available: {told}.")
    crowd = Counter(p["spec"]["nodeName"] for p in cluster.pods)

    def rank(node: Object) -> tuple[float, int, str]:
        name = node["metadata"]["name"]
        return (-_preference(pod, node, cluster), crowd[name], name)

    return Placed(min(fitting, key=rank)["metadata"]["name"])


def _labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _affinity(pod: Object, kind: str) -> Object:
    found: Object = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return found


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


# --- filters ------------------------------------------------------------------------------------------------------


def _unfit(pod: Object, node: Object, cluster: Cluster) -> Sequence[str]:
    """Give why a node will not do: the first of these reasons, or every resource that it is short of."""
    checks: tuple[tuple[Callable[[Object, Object, Cluster], bool], str], ...] = (
        (_unschedulable, "node(s) were unschedulable"),
        (_not_ready, "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"),
        (_wrong_labels, "node(s) didn't match Pod's node affinity/selector"),
        (_wrong_volume, "node(s) had volume node affinity conflict"),
        (_crowded_out, "node(s) didn't match pod anti-affinity rules"),
        (_uneven, "node(s) didn't match pod topology spread constraints"),
    )
    first = next((reason for check, reason in checks if check(pod, node, cluster)), None)
    return [first] if first else _short(pod, node, cluster)


def _short(pod: Object, node: Object, cluster: Cluster) -> list[str]:
    """Give a reason for each resource of which the node has less left than the pod asks for."""
    has = {k: quantity(v) for k, v in ((node.get("status") or {}).get("allocatable") or {}).items()}
    if not has:
        return []  # it has told nothing yet
    for other in cluster.pods:
        if other["spec"]["nodeName"] == node["metadata"]["name"] and not _ended(other):
            for name, amount in requests(other).items():
                has[name] = has.get(name, Decimal(0)) - amount
    wanted = requests(pod)
    return [f"Insufficient {name}" for name in sorted(wanted) if wanted[name] > has.get(name, 0)]


def _ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _unschedulable(_: Object, node: Object, __: Cluster) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def _not_ready(_: Object, node: Object, __: Cluster) -> bool:
    conditions = (node.get("status") or {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] != "True" for c in conditions)


def _wrong_labels(pod: Object, node: Object, _: Cluster) -> bool:
    wanted = pod["spec"].get("nodeSelector") or {}
    if any(_labels(node).get(k) != v for k, v in wanted.items()):
        return True
    required = _affinity(pod, "nodeAffinity").get(_REQUIRED)
    return required is not None and not _any_term(node, required.get("nodeSelectorTerms", ()))


def _any_term(node: Object, terms: Sequence[Object]) -> bool:
    return any(_term(node, t) for t in terms)


def _term(node: Object, term: Object) -> bool:
    names = {"metadata.name": node["metadata"]["name"]}
    return all(node_expression(_labels(node), e) for e in term.get("matchExpressions", ())) and all(
        node_expression(names, e) for e in term.get("matchFields", ())
    )


def _wrong_volume(_: Object, node: Object, cluster: Cluster) -> bool:
    for volume in cluster.volumes:
        required = (volume["spec"].get("nodeAffinity") or {}).get("required")
        if required and not _any_term(node, required["nodeSelectorTerms"]):
            return True
    return False


def _crowded_out(pod: Object, node: Object, cluster: Cluster) -> bool:
    terms = _affinity(pod, "podAntiAffinity").get(_REQUIRED, ())
    return any(_neighbours(pod, node, t, cluster) for t in terms)


def _neighbours(pod: Object, node: Object, term: Object, cluster: Cluster) -> int:
    """Count the pods that a term names in this node's topology domain."""
    key = term["topologyKey"]
    domain = _labels(node).get(key)
    spaces = term.get("namespaces") or [pod["metadata"].get("namespace")]
    return sum(
        p["metadata"].get("namespace") in spaces
        and domain is not None
        and cluster.labels_of(p["spec"]["nodeName"]).get(key) == domain
        and label_selector(_labels(p), term.get("labelSelector"))
        for p in cluster.pods
    )


def _spread(pod: Object, node: Object, constraint: Object, cluster: Cluster) -> int:
    """Give by how many pods this node's domain would lead the emptiest one."""
    key = constraint["topologyKey"]
    counts = {d: 0 for n in cluster.nodes if (d := _labels(n).get(key)) is not None}
    for other in cluster.pods:
        same = other["metadata"].get("namespace") == pod["metadata"].get("namespace")
        domain = cluster.labels_of(other["spec"]["nodeName"]).get(key)
        if same and domain in counts and label_selector(_labels(other), constraint.get("labelSelector")):
            counts[domain] += 1
    return counts.get(_labels(node).get(key, ""), 0) + 1 - min(counts.values(), default=0)


def _uneven(pod: Object, node: Object, cluster: Cluster) -> bool:
    return any(
        _spread(pod, node, c, cluster) > c.get("maxSkew", 1)
        for c in pod["spec"].get("topologySpreadConstraints", ())
        if c.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"
    )


# --- preferences --------------------------------------------------------------------------------------------------


def _preference(pod: Object, node: Object, cluster: Cluster) -> float:
    """Weigh what the pod prefers; more is better."""
    score = 0.0
    for term in _affinity(pod, "nodeAffinity").get(_PREFERRED, ()):
        score += term["weight"] * _term(node, term["preference"])
    for term in _affinity(pod, "podAffinity").get(_PREFERRED, ()):
        score += term["weight"] * _neighbours(pod, node, term["podAffinityTerm"], cluster)
    for term in _affinity(pod, "podAntiAffinity").get(_PREFERRED, ()):
        score -= term["weight"] * _neighbours(pod, node, term["podAffinityTerm"], cluster)
    for constraint in pod["spec"].get("topologySpreadConstraints", ()):
        score -= 100 * _spread(pod, node, constraint, cluster)
    return score
