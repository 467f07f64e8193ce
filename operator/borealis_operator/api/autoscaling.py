"""`spec.readerAutoscaling`: the bounds and the load by which a HorizontalPodAutoscaler moves `spec.readers`."""

from dataclasses import dataclass
from typing import Final

from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.fields import Raw, number

MAX_READERS: Final = 15
FIELD: Final = "spec.readerAutoscaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaling:
    """Bounds, target in percent of the processors requested, and for how long a call must have held."""

    min_readers: int
    max_readers: int
    target_cpu: int
    scale_out_s: int
    scale_in_s: int

    def clamp(self, readers: int) -> int:
        """Give the number within the bounds that is nearest to `readers`."""
        return max(self.min_readers, min(readers, self.max_readers))


def parse_autoscaling(raw: Raw) -> Autoscaling:
    """Parse the section; ConfigInvalid names the first field that is wrong."""
    if raw.get("maxReaders") is None:
        raise ConfigInvalid(f"{FIELD}.maxReaders", "is missing", f"use a whole number from 1 to {MAX_READERS}")
    scaling = Autoscaling(
        min_readers=_number(raw, "minReaders", default=1, low=1, high=MAX_READERS),
        max_readers=_number(raw, "maxReaders", default=1, low=1, high=MAX_READERS),
        target_cpu=_number(raw, "targetCPUUtilization", default=60, low=1, high=100),
        scale_out_s=_number(raw, "scaleOutStabilizationSeconds", default=0, low=0, high=3600),
        scale_in_s=_number(raw, "scaleInStabilizationSeconds", default=300, low=0, high=3600),
    )
    if scaling.min_readers > scaling.max_readers:
        raise ConfigInvalid(f"{FIELD}.minReaders", "exceeds maxReaders", "lower it, or raise maxReaders")
    return scaling


def _number(raw: Raw, key: str, *, default: int, low: int, high: int) -> int:
    return number(raw, key, f"{FIELD}.{key}", default=default, low=low, high=high)
