"""Server-side apply as a function: the cases that the conformance suite cannot show."""

from typing import Any

import pytest
from borealis_local.errors import ApiError
from borealis_local.machinery import managed
from borealis_local.machinery.apply import apply, merge, merged_order, without
from borealis_local.machinery.managed import Author, after_update
from borealis_local.machinery.shape import METADATA, SET, STRINGS, Shape, keyed, struct
from hypothesis import given
from hypothesis import strategies as st

SHAPE = struct(metadata=METADATA, spec=struct(parts=keyed("name"), tags=SET, notes=STRINGS))


def author(name: str, operation: str = "Apply") -> Author:
    return Author(manager=name, operation=operation, api_version="v1")


def applied(live: dict[str, Any] | None, name: str, *, force: bool = False, now: str = "t", **spec: Any) -> Any:
    config = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "spec": spec}
    return apply(live, config, author(name), shape=SHAPE, force=force, now=now)


def test_nothing_is_changed_in_place() -> None:
    first = applied(None, "a", parts=[{"name": "p", "n": 1}])
    before = repr(first)
    applied(first, "b", parts=[{"name": "p", "m": 1}], tags=["t"])
    assert repr(first) == before


def test_the_same_again_gives_the_very_object() -> None:
    first = applied(None, "a", n=1)
    assert applied(first, "a", now="later", n=1) is first


def test_the_same_by_another_is_shared() -> None:
    both = applied(applied(None, "a", n=1), "b", n=1)
    assert {a.manager for a in managed.read(both)} == {"a", "b"}


def test_conflict_and_force() -> None:
    first = applied(None, "a", n=1)
    with pytest.raises(ApiError) as refused:
        applied(first, "b", n=2)
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert applied(first, "b", force=True, n=2)["spec"] == {"n": 2}


def test_an_item_and_its_key_stay_for_its_other_owner() -> None:
    first = applied(None, "a", parts=[{"name": "p", "n": 1}, {"name": "q"}])
    both = applied(first, "b", parts=[{"name": "p", "m": 2}])
    left = applied(both, "a")
    assert left["spec"]["parts"] == [{"name": "p", "m": 2}]


def test_emptied_containers_go() -> None:
    first = applied(None, "a", n=1, notes={"x": "1"})
    assert applied(first, "a", n=1)["spec"] == {"n": 1}


def test_what_nobody_applied_stays() -> None:
    first = applied(None, "a", n=1)
    written = after_update(first, {**first, "spec": {"n": 1, "m": 5}}, author("hand", "Update"), shape=SHAPE, now="t")
    assert applied(written, "a")["spec"] == {"m": 5}


def test_a_plain_write_takes_over_and_removal_forgets() -> None:
    first = applied(None, "a", n=1, m=1)
    taken = after_update(first, {**first, "spec": {"n": 2}}, author("hand", "Update"), shape=SHAPE, now="t")
    assert author("a") not in managed.read(taken)
    assert managed.read(taken)[author("hand", "Update")].fields == {("f:spec", "f:n")}


def test_system_metadata_is_nobodys() -> None:
    first = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}}
    new = {**first, "metadata": {"name": "x", "uid": "1", "generation": 2, "labels": {"a": "b"}}}
    owners = managed.read(after_update(first, new, author("w", "Update"), shape=SHAPE, now="t"))
    assert all("f:labels" in p for p in owners[author("w", "Update")].fields)


@pytest.mark.parametrize(
    ("live", "config", "expected"),
    [
        pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="dicts"),
        pytest.param([1], [2], [2], id="plain lists"),
        pytest.param({"tags": ["x"]}, {"tags": ["y", "x"]}, {"tags": ["y", "x"]}, id="sets"),
        pytest.param(
            {"parts": [{"name": "p", "n": 1}]},
            {"parts": [{"name": "q"}, {"name": "p", "n": 2}]},
            {"parts": [{"name": "q"}, {"name": "p", "n": 2}]},
            id="keyed lists",
        ),
    ],
)
def test_merge(live: Any, config: Any, expected: Any) -> None:
    assert merge(live, config, SHAPE.child("spec")) == expected


def test_without_takes_paths_out() -> None:
    value = {"spec": {"a": 1, "b": {"c": 1}}}
    left = without(value, frozenset({("f:spec", "f:b", "f:c")}), frozenset(), Shape())
    assert left == {"spec": {"a": 1}}


@pytest.mark.parametrize(
    ("live", "config", "order"),
    [
        ("abc", "", "abc"),
        ("", "ab", "ab"),
        ("ab", "ba", "ba"),
        ("yx", "zx", "yzx"),
        ("axb", "ba", "xba"),
        ("abc", "cxa", "bcxa"),
    ],
)
def test_the_order_of_merged_lists(live: str, config: str, order: str) -> None:
    assert "".join(merged_order(live, config)) == order


@given(st.permutations("abcd"), st.permutations("cdef"))
def test_merged_lists_hold_each_item_once_in_the_order_of_the_configuration(live: list[str], config: list[str]) -> None:
    merged = merged_order(live, config)
    assert sorted(merged) == sorted({*live, *config})
    assert [i for i in merged if i in config] == config
