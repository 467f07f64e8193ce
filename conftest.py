"""What takes longest begins first: `make test` gives whole files to its processes, and the last one ends it."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole clusters first, then what needs PostgreSQL or is slow."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    marks = ("cluster", "postgres", "slow")
    return next((rank for rank, mark in enumerate(marks) if item.get_closest_marker(mark)), len(marks))
