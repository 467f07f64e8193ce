"""What an instance reserves: by its own class, else by the cluster's class, else by `spec.instance.resources`.

A class that is not in the operator's table is the user's mistake, and changes nothing that runs: an instance that has
had a pod keeps the class of that pod, also for the next one. One that never had a pod waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from borealis_operator.api.classes import Resources
from borealis_operator.api.cluster import ClusterSpec
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.instance import Instance

Classes: TypeAlias = Mapping[str, Resources]
CLUSTER_FIELD: Final = "spec.instance.dbInstanceClass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The class in force (empty: none) and what it stands for; None: nothing is known, so no pod is made.

    `fault` says what is wrong with the class that was asked for.
    """

    name: str
    resources: Resources | None
    fault: ConfigInvalid | None = None


def decide_size(spec: ClusterSpec, instance: Instance, classes: Classes) -> Size:
    """Give the size of an instance as it should be now."""
    asked = instance.instance_class or spec.instance_class
    if asked and asked not in classes:
        field = "spec.dbInstanceClass" if instance.instance_class else f"{CLUSTER_FIELD} of the DBCluster"
        return _kept(spec, instance, classes, class_fault(field, asked, classes))
    return Size(name=asked, resources=classes[asked] if asked else spec.resources)


def class_fault(field: str, asked: str, classes: Classes) -> ConfigInvalid:
    """Say that a class is unknown, and which ones there are."""
    return ConfigInvalid(field, f"there is no class {asked!r}", f"use one of {', '.join(classes)}")


def _kept(spec: ClusterSpec, instance: Instance, classes: Classes, fault: ConfigInvalid) -> Size:
    """Give the size of the last pod; a class that has left the table since then stands for nothing in particular."""
    had = instance.status.get("dbInstanceClass")
    if had is None:
        return Size(name="", resources=None, fault=fault)
    name = str(had) if had in classes else ""
    return Size(name=name, resources=classes[name] if name else spec.resources, fault=fault)
