"""Schemas, rules, selectors and tables as functions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from borealis_local.cli.assets import directory, documents
from borealis_local.errors import ApiError
from borealis_local.machinery import cel, crd, schema, selectors
from borealis_local.machinery.tables import age, pod_status, walk


@pytest.mark.parametrize("path", sorted(directory("crds").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_crds_are_served(path: Any) -> None:
    (document,) = documents(path)
    assert crd.check(document) == []
    assert [r.kind for r in crd.served(document)] == [document["spec"]["names"]["kind"]]


@pytest.mark.parametrize(
    ("value", "node", "count"),
    [
        pytest.param(None, {"nullable": True, "type": "string"}, 0, id="nullable"),
        pytest.param(None, {"type": "string"}, 1, id="null"),
        pytest.param("1", {"x-kubernetes-int-or-string": True}, 0, id="int or string"),
        pytest.param(1.5, {"type": "integer"}, 1, id="no integer"),
        pytest.param(2.0, {"type": "integer"}, 0, id="whole float"),
        pytest.param(1, {"type": "number"}, 0, id="number"),
        pytest.param(True, {"type": "integer"}, 1, id="bool is no integer"),
        pytest.param(5, {"exclusiveMaximum": True, "maximum": 5}, 1, id="exclusive"),
        pytest.param("x", {"oneOf": [{"pattern": "x"}, {"pattern": "y"}]}, 0, id="one of"),
        pytest.param("xy", {"oneOf": [{"pattern": "x"}, {"pattern": "y"}]}, 1, id="two of"),
        pytest.param("z", {"anyOf": [{"pattern": "x"}, {"pattern": "y"}]}, 1, id="none of"),
        pytest.param("x", {"not": {"pattern": "x"}}, 1, id="not"),
        pytest.param({"a": 1, "b": 2}, {"maxProperties": 1}, 1, id="properties"),
        pytest.param([1], {"minItems": 2}, 1, id="items"),
        pytest.param("never", {"format": "date-time"}, 1, id="date"),
    ],
)
def test_validate(value: Any, node: Any, count: int) -> None:
    assert len(schema.validate(value, node, "x")) == count


def test_defaults_reach_into_lists_and_free_keys() -> None:
    inner = {"type": "object", "properties": {"d": {"default": 1}}}
    node = {"properties": {"l": {"items": inner}, "m": {"additionalProperties": inner}, "n": {"default": None}}}
    assert schema.default({"l": [{}], "m": {"k": {}}}, node) == {"l": [{"d": 1}], "m": {"k": {"d": 1}}, "n": None}


def test_pruning_tells_the_paths() -> None:
    node = {"properties": {"l": {"items": {"properties": {"a": {}}}}}}
    kept, unknown = schema.prune({"l": [{"a": 1, "b": 2}], "c": 3}, node)
    assert kept == {"l": [{"a": 1}]}
    assert unknown == ["l[0].b", "c"]


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("self.a > 1", {"a": 2}, True),
        ("self.l.all(x, x < 3)", {"l": [1, 2]}, True),
        ("self.l.exists(x, x > 3)", {"l": [1, 2]}, False),
        ("has(self.a) || has(self.b)", {"b": 1}, True),
        ("self.s.matches('^[a-z]+$')", {"s": "abc"}, True),
        ("size(self.s) == 3 && self.s.startsWith('a')", {"s": "abc"}, True),
        ("self.s.lowerAscii() == 'abc'", {"s": "ABC"}, True),
        ("self.missing == 1", {"a": 1}, False),
        ("(has(self.a) ? self.a : 0) == 0", {}, True),
        ("!(self.s in ['x', 'y'])", {"s": "z"}, True),
    ],
)
def test_rules(rule: str, value: Any, holds: bool) -> None:
    node = {"type": "object", "x-kubernetes-validations": [{"rule": rule, "message": "no"}]}
    assert (list(cel.violations(value, node)) == []) is holds


def test_transition_rules_of_keyed_items_meet_the_same_item() -> None:
    item = {"properties": {"v": {"x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}}}
    node = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}
    old = [{"name": "a", "v": 5}, {"name": "b", "v": 1}]
    assert list(cel.violations([{"name": "b", "v": 2}, {"name": "a", "v": 5}], node, old)) == []
    (cause,) = cel.violations([{"name": "a", "v": 4}], node, old)
    assert cause.field == "[0].v"


@pytest.mark.parametrize(
    ("text", "labels", "chosen"),
    [
        ("", {}, True),
        ("a==b", {"a": "b"}, True),
        ("a/b.c=d", {"a/b.c": "d"}, True),
        ("a in (b, c),d", {"a": "c", "d": ""}, True),
        ("a notin (b)", {}, True),
        ("!a", {"a": ""}, False),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], chosen: bool) -> None:
    assert selectors.labels(text)(labels) is chosen


def test_field_selectors_know_their_kind() -> None:
    on_node = selectors.fields("spec.nodeName=n,status.phase!=Failed", "Pod")
    assert on_node({"spec": {"nodeName": "n"}, "status": {"phase": "Running"}})
    assert not on_node({"spec": {"nodeName": "m"}})
    with pytest.raises(ApiError):
        selectors.fields("spec.nodeName=n", "Secret")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a.b", [1]),
        (".l[0].x", [1]),
        (".l[*].x", [1, 2]),
        ('.l[?(@.n=="two")].x', [2]),
        (r".labels.a\.b/c", ["d"]),
        (".none.there", []),
    ],
)
def test_json_paths(path: str, expected: list[Any]) -> None:
    obj = {"a": {"b": 1}, "l": [{"n": "one", "x": 1}, {"n": "two", "x": 2}], "labels": {"a.b/c": "d"}}
    assert list(walk(obj, path)) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (600, "10m"),
        (7200, "120m"),
        (14000, "3h53m"),
        (200000, "2d"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    now = datetime(2025, 1, 9, tzinfo=UTC)
    assert age((now - timedelta(seconds=seconds)).isoformat(), now) == text


def test_pod_words() -> None:
    waiting = {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}], "phase": "Running"}
    assert pod_status({"metadata": {}, "status": waiting}) == "CrashLoopBackOff"
    assert pod_status({"metadata": {"deletionTimestamp": "t"}, "status": waiting}) == "Terminating"
    assert pod_status({"metadata": {}, "status": {"phase": "Running"}}) == "Running"
