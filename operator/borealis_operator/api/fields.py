"""Reading of fields out of raw objects, with errors that name the field.

The CRDs check the same things; these checks hold where a schema is older than the operator or not enforced.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from borealis_operator.api.errors import ConfigInvalid

Raw: TypeAlias = Mapping[str, Any]

QUANTITY = re.compile(r"^([0-9]+(\.[0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")
DURATION = re.compile(r"([1-9][0-9]{0,4})(s|m|h)")
UNITS = {"s": 1, "m": 60, "h": 3600}


def section(raw: Raw, *path: str) -> Raw:
    """Give the mapping at `path`, empty if any part is absent."""
    here: Any = raw
    for key in path:
        here = here.get(key) if isinstance(here, Mapping) else None
    return here if isinstance(here, Mapping) else {}


def text(raw: Raw, key: str, field: str, *, default: str = "", pattern: str = "", remedy: str = "") -> str:
    """Give a string field; `pattern` must match all of it unless it is empty."""
    value = raw.get(key)
    value = default if value is None else value
    if not isinstance(value, str):
        raise ConfigInvalid(field, f"{value!r} is not a string", remedy or "put it in quotes")
    if value and pattern and not re.fullmatch(pattern, value):
        raise ConfigInvalid(field, f"{value!r} is not allowed", remedy)
    return value


def number(raw: Raw, key: str, field: str, *, default: int, low: int, high: int) -> int:
    """Give a whole number within bounds."""
    value = raw.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigInvalid(field, f"{value!r} is out of range", f"use a whole number from {low} to {high}")
    return value


def flag(raw: Raw, key: str, field: str) -> bool:
    """Give a field that is true or false; absent is false."""
    value = raw.get(key)
    if value is not None and not isinstance(value, bool):
        raise ConfigInvalid(field, f"{value!r} is neither true nor false", "use true or false, without quotes")
    return bool(value)


def quantity(raw: Raw, key: str, field: str, *, default: str = "", zero: bool = True) -> str:
    """Give a Kubernetes quantity as it was written; `zero` says whether it may be none at all."""
    value = raw.get(key)
    value = default if value is None else str(value)
    found = QUANTITY.match(value)
    if value and not (found and (zero or float(found[1]))):
        raise ConfigInvalid(field, f"{value!r} is not a quantity of something", "use a form such as 10Gi or 500m")
    return value


def duration(raw: Raw, key: str, field: str, *, default: str) -> float:
    """Give a span of time such as 90s, 5m or 2h in seconds; never none at all."""
    value = text(raw, key, field, default=default)
    found = DURATION.fullmatch(value)
    if not found:
        raise ConfigInvalid(field, f"{value!r} is not a span of time", "use a form such as 30s, 5m or 2h")
    return float(found[1]) * UNITS[found[2]]


def timestamp(value: Any) -> float:
    """Give an RFC 3339 time as seconds since 1970; 0 if there is none."""
    if not isinstance(value, str) or not value:
        return 0.0
    return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
