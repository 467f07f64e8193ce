"""The three older patches."""

from typing import Any

import pytest
from borealis_local.errors import ApiError
from borealis_local.machinery.patches import json_patch, merge_patch, strategic_patch
from borealis_local.machinery.shape import SET, keyed, struct

POD = struct(containers=keyed("name", item=struct(env=keyed("name"))), finalizers=SET)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        pytest.param({"a": "b"}, {"a": "c"}, {"a": "c"}, id="replace"),
        pytest.param({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}, id="add"),
        pytest.param({"a": "b"}, {"a": None}, {}, id="remove"),
        pytest.param({"a": ["b"]}, {"a": ["c"]}, {"a": ["c"]}, id="list"),
        pytest.param({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}, id="nested"),
        pytest.param({"a": [1]}, {"a": {"x": {"y": None}}}, {"a": {"x": {}}}, id="rfc7386"),
        pytest.param(["a"], {"a": "b"}, {"a": "b"}, id="no object"),
    ],
)
def test_merge_patch(target: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(target, patch) == expected


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        pytest.param([{"op": "add", "path": "/l/0", "value": 0}], {"l": [0, 1, 2], "d": {"k": 1}}, id="insert"),
        pytest.param([{"op": "add", "path": "/l/-", "value": 3}], {"l": [1, 2, 3], "d": {"k": 1}}, id="append"),
        pytest.param([{"op": "remove", "path": "/l/0"}], {"l": [2], "d": {"k": 1}}, id="remove"),
        pytest.param([{"op": "replace", "path": "/d/k", "value": 2}], {"l": [1, 2], "d": {"k": 2}}, id="replace"),
        pytest.param([{"op": "move", "from": "/d/k", "path": "/m"}], {"l": [1, 2], "d": {}, "m": 1}, id="move"),
        pytest.param([{"op": "copy", "from": "/l", "path": "/d/k"}], {"l": [1, 2], "d": {"k": [1, 2]}}, id="copy"),
        pytest.param([{"op": "add", "path": "/a~1b", "value": 1}], {"l": [1, 2], "d": {"k": 1}, "a/b": 1}, id="escape"),
    ],
)
def test_json_patch(operations: Any, expected: Any) -> None:
    target = {"l": [1, 2], "d": {"k": 1}}
    assert json_patch(target, operations) == expected
    assert target == {"l": [1, 2], "d": {"k": 1}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "add", "path": "/l/9", "value": 1},
        {"op": "test", "path": "/l", "value": []},
        {"op": "dance", "path": "/l"},
        {"op": "add", "path": "no-slash", "value": 1},
    ],
    ids=str,
)
def test_json_patch_refuses(operation: Any) -> None:
    with pytest.raises(ApiError) as refused:
        json_patch({"l": [1]}, [operation])
    assert refused.value.code == 422


def test_strategic_merge_goes_by_keys() -> None:
    target = {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}
    patch = {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}, {"name": "b", "$patch": "delete"}]}
    (left,) = strategic_patch(target, patch, POD)["containers"]
    assert left["image"] == "1"
    assert [e["name"] for e in left["env"]] == ["X", "Y"]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"finalizers": ["y"]}, {"finalizers": ["x", "y"]}),
        ({"$deleteFromPrimitiveList/finalizers": ["x"]}, {"finalizers": []}),
        ({"finalizers": ["y", {"$patch": "replace"}]}, {"finalizers": ["y"]}),
        ({"$patch": "replace", "other": 1}, {"other": 1}),
        ({"$patch": "delete"}, {}),
        ({"$retainKeys": ["other"], "other": 1}, {"other": 1}),
        ({"$setElementOrder/finalizers": ["x"], "finalizers": None}, {}),
    ],
    ids=str,
)
def test_strategic_directives(patch: Any, expected: Any) -> None:
    assert strategic_patch({"finalizers": ["x"]}, patch, POD) == expected


def test_strategic_merge_needs_the_key() -> None:
    with pytest.raises(ApiError, match="merge key"):
        strategic_patch({}, {"containers": [{"image": "x"}]}, POD)
