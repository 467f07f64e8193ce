"""Kubernetes quantities (`500m`, `4Gi`, `1e3`) as exact numbers, and what pods ask for in them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

Object = Mapping[str, Any]
_FORM: Final = re.compile(r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([eE][+-]?[0-9]{1,3}|[numkMGTPE]|[KMGTPE]i)?$")
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def quantity(told: Any) -> Decimal:
    """Give a quantity as a number; ValueError if it is none."""
    match = _FORM.match(str(told).strip())
    if match is None:
        raise ValueError(f"{told!r} is no quantity such as 500m or 4Gi")
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * Decimal(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix])
    return number * Decimal(f"1{suffix}")


def requests(pod: Object) -> dict[str, Decimal]:
    """Give what a pod reserves on its node: all its containers together, or one init container if that asks for more.

    A limit without a request counts as one.
    """
    total: dict[str, Decimal] = {}
    for container in pod["spec"].get("containers", ()):
        for name, amount in _asked(container).items():
            total[name] = total.get(name, Decimal(0)) + amount
    for container in pod["spec"].get("initContainers", ()):
        for name, amount in _asked(container).items():
            total[name] = max(total.get(name, Decimal(0)), amount)
    return total


def _asked(container: Object) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    merged = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity(told) for name, told in merged.items()}
