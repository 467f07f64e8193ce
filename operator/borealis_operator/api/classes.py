"""Instance classes: names for sizes of instances, as Aurora has them; the chart may put its own table in their place.

Memory is reserved and limited alike, processors are reserved only: an idle machine's are for whoever needs them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.fields import quantity

ENV_INSTANCE_CLASSES: Final = "BOREALIS_INSTANCE_CLASSES"  # JSON: {"db.small": {"cpu": "500m", "memory": "1Gi"}, ...}
CLASS_NAME: Final = r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Of each instance; empty means none asked for."""

    cpu: str = ""
    memory: str = ""


DEFAULT_CLASSES: Final[Mapping[str, Resources]] = {
    "db.small": Resources(cpu="500m", memory="1Gi"),
    "db.medium": Resources(cpu="1", memory="4Gi"),
    "db.large": Resources(cpu="2", memory="8Gi"),
    "db.xlarge": Resources(cpu="4", memory="16Gi"),
    "db.2xlarge": Resources(cpu="8", memory="32Gi"),
    "db.4xlarge": Resources(cpu="16", memory="64Gi"),
}


def parse_classes(text: str) -> Mapping[str, Resources]:
    """Read `BOREALIS_INSTANCE_CLASSES`; without it, the table of this module holds."""
    if not text:
        return DEFAULT_CLASSES
    remedy = 'give a JSON object such as {"db.small": {"cpu": "500m", "memory": "1Gi"}}'
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ConfigInvalid(ENV_INSTANCE_CLASSES, "is not JSON", remedy) from error
    if not isinstance(raw, dict) or not all(isinstance(sizes, dict) for sizes in raw.values()):
        raise ConfigInvalid(ENV_INSTANCE_CLASSES, "is not a JSON object of objects", remedy)
    return {name: _resources(name, sizes) for name, sizes in raw.items()} or DEFAULT_CLASSES


def _resources(name: str, sizes: Mapping[str, object]) -> Resources:
    field = f"{ENV_INSTANCE_CLASSES}: {name}"
    if not re.fullmatch(CLASS_NAME, name):
        raise ConfigInvalid(field, "is no name of a class", "use lower case letters, digits, '-' and '.', 63 at most")
    if unknown := sorted(set(sizes) - {"cpu", "memory"}):
        raise ConfigInvalid(field, f"has the unknown entry {unknown[0]!r}", "a class has cpu and memory only")
    return Resources(
        cpu=quantity(sizes, "cpu", f"{field}.cpu", zero=False),
        memory=quantity(sizes, "memory", f"{field}.memory", zero=False),
    )
