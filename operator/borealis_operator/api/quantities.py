"""Kubernetes quantities as numbers: claims and their capacity, in all forms that an API server may answer with."""

import math
import re
from decimal import Decimal
from typing import Final

_FORM: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")
_BINARY: Final = {unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL: Final = {unit: Decimal(1000) ** power for power, unit in enumerate("num", -3)} | {
    unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)
}
_FACTORS: Final = _BINARY | _DECIMAL | {"": Decimal(1)}


def parse_quantity(text: str) -> Decimal:
    """Give a quantity such as 10Gi, 1.5G, 500m or 12e6 in its base unit; ValueError on anything else.

    See https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a quantity")
    number, unit = Decimal(found[1]), found[2] or ""
    return number * (_FACTORS[unit] if unit in _FACTORS else Decimal(f"1{unit}"))


def parse_bytes(text: str) -> int:
    """Give a quantity of bytes, rounded up to a whole one as Kubernetes does; ValueError if it is none."""
    return math.ceil(parse_quantity(text))
