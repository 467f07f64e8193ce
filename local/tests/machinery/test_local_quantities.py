"""Quantities, as Kubernetes writes them."""

from decimal import Decimal

import pytest
from borealis_local.errors import ApiError
from borealis_local.machinery.quantities import quantity
from borealis_local.testing import MemoryApi


@pytest.mark.parametrize(
    ("told", "number"),
    [("500m", "0.5"), ("2", "2"), (3, "3"), ("1.5Gi", str(3 * 2**29)), ("1k", "1000"), ("1e3", "1000"), ("2E", "2e18")],
)
def test_numbers(told: object, number: str) -> None:
    assert quantity(told) == Decimal(number)


@pytest.mark.parametrize("told", ["", "many", "1 Gi", "1gi", "Gi", "1.2.3", ".", "1e999999999"])
def test_what_is_no_quantity(told: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(told)


def test_a_pod_with_a_bad_quantity_is_refused() -> None:
    container = {"name": "c", "image": "local", "resources": {"requests": {"cpu": "lots"}}}
    with pytest.raises(ApiError, match="'lots' is no quantity such as 500m or 4Gi"):
        MemoryApi().make("Pod", "p", spec={"containers": [container]})
