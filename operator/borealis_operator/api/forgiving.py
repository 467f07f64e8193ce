"""Parsing of what runs already although its spec went wrong: a wrong field counts as left out, and the rest holds.

A user's mistake must not stop the passes of a running cluster, because failover is one of their duties. Each mistake is
kept as the `ConfigInvalid` that it raised, for a condition.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from borealis_operator.api.catalogue import Catalogue
from borealis_operator.api.cluster import Cluster, parse_cluster
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.fields import Raw, section

T = TypeVar("T")
Faults = tuple[ConfigInvalid, ...]


def parse_running(raw: Raw, catalogue: Catalogue) -> tuple[Cluster, Faults]:
    """Parse a DBCluster that has had a writer, and say what is wrong with it.

    An empty `spec.image` in the answer means that the version it runs has no engine image any more.
    """
    running, lost = str(section(raw, "status").get("engineVersion", "")), list[ConfigInvalid]()
    if running and running not in catalogue.images:
        problem = f"this operator has no engine image for {running}, which the cluster runs, and can make no pods"
        lost.append(ConfigInvalid("spec.engineVersion", problem, "name one in engine.images of the chart"))
        catalogue = replace(catalogue, images={**catalogue.images, running: ""})
    cluster, faults = forgive(lambda given: parse_cluster(given, catalogue), raw)
    return cluster, (*lost, *faults)


def forgive(parse: Callable[[Raw], T], raw: Raw) -> tuple[T, Faults]:
    """Parse `raw` less the fields of its spec that are wrong; ConfigInvalid if one of them cannot be left out."""
    faults = list[ConfigInvalid]()
    while True:
        try:
            return parse(raw), tuple(faults)
        except ConfigInvalid as fault:
            head, _, path = fault.field.partition(".")
            lesser = without(section(raw, "spec"), path) if head == "spec" else None
            if lesser is None:
                raise
            faults.append(fault)
            raw = {**raw, "spec": lesser}


def without(raw: Raw, path: str) -> Raw | None:
    """Give a copy less the field at a dotted path, or less what should have held it; None if there is neither.

    Keys may have dots themselves, as names of parameters do.
    """
    if path in raw:
        return {key: value for key, value in raw.items() if key != path}
    for at in (i for i, letter in enumerate(path) if letter == "."):
        key, rest = path[:at], path[at + 1 :]
        if key in raw:
            inner = without(section(raw, key), rest)
            return without(raw, key) if inner is None else {**raw, key: inner}
    return None


def summarize(faults: Faults) -> ConfigInvalid | None:
    """Give one error for all: the first in full, the others by the names of their fields."""
    if not faults:
        return None
    first, others = faults[0], sorted({fault.field for fault in faults[1:]})
    also = f" (also wrong: {', '.join(others)})" if others else ""
    return ConfigInvalid(first.field, first.problem, f"{first.remedy}{also}")
