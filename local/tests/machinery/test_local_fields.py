"""Field sets: FieldsV1 there and back, what differs, what an applier owns."""

from typing import Any

import pytest
from borealis_local.machinery.fields import Difference, compare, everything, from_v1, named, owned_by_apply, to_v1
from borealis_local.machinery.shape import ANY, ATOMIC, SET, Shape, keyed, of_schema, struct
from hypothesis import given
from hypothesis import strategies as st

PORTS = struct(ports=keyed("port", "protocol", protocol="TCP"), tags=SET, whole=Shape(), one=ATOMIC)
NO_DIFFERENCE = Difference(added=frozenset(), modified=frozenset(), removed=frozenset())
NAMES = st.text("abc", min_size=1, max_size=3)
VALUES = st.recursive(
    st.integers() | st.text("xyz", max_size=2), lambda inner: st.dictionaries(NAMES, inner, max_size=3)
)


def test_fields_v1_is_what_kubernetes_writes() -> None:
    paths = owned_by_apply({"spec": {"ports": [{"port": 80, "name": "a"}]}}, struct(spec=PORTS))
    key = 'k:{"port":80,"protocol":"TCP"}'
    assert to_v1(paths) == {"f:spec": {"f:ports": {key: {".": {}, "f:name": {}, "f:port": {}}}}}


@given(VALUES)
def test_fields_v1_goes_there_and_back(value: Any) -> None:
    paths = owned_by_apply({"root": value}, ANY)
    assert from_v1(to_v1(paths)) == paths


@given(VALUES)
def test_nothing_differs_from_itself(value: Any) -> None:
    found = compare({"v": value}, {"v": value}, ANY)
    assert found == NO_DIFFERENCE


@given(VALUES, VALUES)
def test_what_is_added_one_way_is_removed_the_other(a: Any, b: Any) -> None:
    there, back = compare({"v": a}, {"v": b}, ANY), compare({"v": b}, {"v": a}, ANY)
    assert (there.added, there.removed, there.modified) == (back.removed, back.added, back.modified)


@pytest.mark.parametrize(
    ("old", "new", "modified", "added", "removed"),
    [
        pytest.param({"a": 1}, {"a": 2}, {".a"}, set(), set(), id="leaf"),
        pytest.param({"a": 1}, {"a": True}, {".a"}, set(), set(), id="type"),
        pytest.param({"whole": [1]}, {"whole": [1, 2]}, {".whole"}, set(), set(), id="plain list"),
        pytest.param({"one": {"x": 1}}, {"one": {"y": 1}}, {".one"}, set(), set(), id="atomic dict"),
        pytest.param({"tags": ["x"]}, {"tags": ["x", "y"]}, set(), {'.tags[="y"]'}, set(), id="set"),
        pytest.param({"m": {"x": 1}}, {}, set(), set(), {".m", ".m.x"}, id="gone"),
        pytest.param(
            {"ports": [{"port": 1, "name": "a"}]},
            {"ports": [{"port": 1, "name": "b"}]},
            {'.ports[port=1,protocol="TCP"].name'},
            set(),
            set(),
            id="keyed list",
        ),
    ],
)
def test_compare(old: Any, new: Any, modified: set[str], added: set[str], removed: set[str]) -> None:
    found = compare(old, new, PORTS)
    assert {named(p) for p in found.modified} == modified
    assert {named(p) for p in found.added} == added
    assert {named(p) for p in found.removed} == removed


def test_order_of_a_keyed_list_is_no_difference() -> None:
    one, two = {"port": 1}, {"port": 2}
    found = compare({"ports": [one, two]}, {"ports": [two, one]}, PORTS)
    assert found == NO_DIFFERENCE


def test_free_keys_are_owned_as_such() -> None:
    shape = of_schema({"properties": {"m": {"additionalProperties": {"type": "object", "properties": {"x": {}}}}}})
    assert {named(p) for p in owned_by_apply({"m": {"k": {"x": 1}}}, shape)} == {".m.k", ".m.k.x"}


def test_everything_names_containers_too() -> None:
    assert {named(p) for p in everything({"x": {"y": 1}}, ANY, ("f:a",))} == {".a", ".a.x", ".a.x.y"}
