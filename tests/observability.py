"""The metrics that the three programs offer, taken from their registries, for what must agree with them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from borealis_engine.contract.status import InstanceStatus, Role, StorageState, StorageStatus
from borealis_engine.net.meters import Meters
from borealis_engine.postgres.metrics import make_registry
from borealis_engine.postgres.tally import Tally
from borealis_operator.observe import belief
from borealis_operator.reconcile import metrics
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric

NAME = re.compile(r"\bborealis_(?:operator|instance|storage)_\w+")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A metric: its type, and the labels of its series."""

    type: str
    labels: frozenset[str]


def known() -> Mapping[str, Known]:
    """Give every metric of ours by its name; a counter's is that of its samples."""
    metrics.ACTIONS.labels("Create")
    belief.DISBELIEVED.labels(belief.IDENTITY)
    status = InstanceStatus(name="i", role=Role.READER, lag_seconds=0.0)
    meters = Meters()
    meters.watch(lambda: StorageStatus(name="s", member="m", state=StorageState.CURRENT), lambda: 0.0)
    families = [
        *REGISTRY.collect(),
        *make_registry(lambda: status, Tally()).collect(),
        *meters.registry.collect(),
    ]
    ours = [family for family in families if NAME.match(family.name)]
    return {_name(family): Known(type=family.type, labels=_labels(family)) for family in ours}


def samples(found: Mapping[str, Known]) -> dict[str, frozenset[str]]:
    """Give the names that an expression may use, with the labels that it may name."""
    result = {}
    for name, metric in found.items():
        stem = name.removesuffix("_total")
        for suffix in SUFFIXES[metric.type]:
            extra = {"le"} if suffix == "_bucket" else set()
            result[stem + suffix] = metric.labels | extra
    return result


def used(expression: str) -> set[str]:
    """Give the names of our metrics in a PromQL expression."""
    return set(NAME.findall(expression))


def foreign_labels(expressions: Iterable[str], names: Mapping[str, frozenset[str]]) -> list[str]:
    """Give the matchers in expressions that name a label which their metric does not bear."""
    found = []
    for expression in expressions:
        for name, matchers in re.findall(r"(borealis_\w+)\{([^}]*)\}", expression):
            told = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            found += [f"{name}: {label}" for label in sorted(told - names.get(name, frozenset()))]
    return found


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> frozenset[str]:
    told = {label for sample in family.samples for label in sample.labels}
    return frozenset(told | set(getattr(family, "_labelnames", ()))) - {"le"}
