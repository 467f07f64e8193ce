"""Which labels an object of a cluster bears, told from the object itself, so that lost ones can be put back.

The operator lists its objects by label. One that lost them is not gone: its owner reference says whose it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from borealis_operator.api.fields import section
from borealis_operator.api.names import (
    FIELD_MANAGER,
    INSTANCE,
    LABEL_CLUSTER,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED,
    LABEL_SERVICE,
    LABEL_SLICE_MANAGED,
    MANAGER,
    STORAGE,
)

SUFFIX: Final = 6  # characters that a pod's name has more than its DBInstance's


def missing_labels(live: Mapping[str, Any], cluster: str) -> dict[str, str]:
    """Give the labels that an object of the cluster should bear and does not; `borealis.dev/role` is not among them."""
    there = live["metadata"].get("labels") or {}
    return {key: value for key, value in _labels(live, cluster) if there.get(key) != value}


def is_owned(live: Mapping[str, Any], uid: str) -> bool:
    """Whether the object belongs to the DBCluster of that uid."""
    owners = live["metadata"].get("ownerReferences") or ()
    return any(o.get("kind") == "DBCluster" and o.get("uid") == uid for o in owners)


def _labels(live: Mapping[str, Any], cluster: str) -> Iterator[tuple[str, str]]:
    yield LABEL_MANAGED, MANAGER
    yield LABEL_CLUSTER, cluster
    kind, name = live["kind"], live["metadata"]["name"]
    if kind == "PersistentVolumeClaim":
        yield LABEL_COMPONENT, STORAGE
    elif kind == "EndpointSlice":
        yield LABEL_SERVICE, name
        yield LABEL_SLICE_MANAGED, FIELD_MANAGER
    elif kind == "Pod":
        containers = {c.get("name") for c in section(live, "spec").get("containers") or ()}
        if STORAGE in containers:
            yield LABEL_COMPONENT, STORAGE
        elif INSTANCE in containers:
            yield LABEL_COMPONENT, INSTANCE
            yield LABEL_INSTANCE, name[:-SUFFIX]
