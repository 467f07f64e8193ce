"""Lists and watches: order, resuming, selections, ends."""

import pytest
from kube import MERGE
from widgets import Widgets, widget


async def test_a_list_has_a_version_and_kinds(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    found = (await widgets.kube.send("GET", widgets.collection)).ok()
    assert (found["kind"], found["apiVersion"]) == ("WidgetList", "conformance.borealis.dev/v1")
    assert found["metadata"]["resourceVersion"]
    assert found["items"][0]["kind"] == "Widget"


async def test_items_of_typed_lists_say_no_kind(widgets: Widgets) -> None:
    path = f"/api/v1/namespaces/{widgets.kube.namespace}/configmaps"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    assert (await widgets.kube.send("POST", path, made)).ok()["kind"] == "ConfigMap"
    found = (await widgets.kube.send("GET", path)).ok()
    item = next(i for i in found["items"] if i["metadata"]["name"] == "c")
    assert "kind" not in item


async def test_a_watch_tells_all_changes_in_order(widgets: Widgets) -> None:
    start = (await widgets.kube.send("GET", widgets.collection)).ok()["metadata"]["resourceVersion"]
    async with widgets.kube.watch(widgets.collection, resourceVersion=start) as watch:
        await widgets.create(widget("w"))
        await widgets.patch("w", {"spec": {"size": 2}}, MERGE)
        await widgets.delete("w")
        assert await watch.names(3) == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]


async def test_a_watch_resumes_where_it_was(widgets: Widgets) -> None:
    made = (await widgets.create(widget("one"))).ok()
    await widgets.create(widget("two"))
    await widgets.delete("one")
    version = made["metadata"]["resourceVersion"]
    async with widgets.kube.watch(widgets.collection, resourceVersion=version) as watch:
        assert await watch.names(2) == [("ADDED", "two"), ("DELETED", "one")]


async def test_a_deletion_carries_the_version_of_its_end(widgets: Widgets) -> None:
    made = (await widgets.create(widget("w"))).ok()
    async with widgets.kube.watch(widgets.collection, resourceVersion=made["metadata"]["resourceVersion"]) as watch:
        await widgets.delete("w")
        type_, last = await watch.next()
    assert type_ == "DELETED"
    assert int(last["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_a_watch_from_nowhere_begins_with_what_is_there(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    async with widgets.kube.watch(widgets.collection) as watch:
        assert await watch.names(1) == [("ADDED", "w")]
        await widgets.create(widget("x"))
        assert await watch.names(1) == [("ADDED", "x")]


async def test_too_old_a_version_is_gone(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    async with widgets.kube.watch(widgets.collection, resourceVersion="1") as watch:
        type_, status = await watch.next()
    assert type_ == "ERROR"
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")


async def test_a_selection_turns_changes_into_comings_and_goings(widgets: Widgets) -> None:
    start = (await widgets.kube.send("GET", widgets.collection)).ok()["metadata"]["resourceVersion"]
    query = {"resourceVersion": start, "labelSelector": "l in (x, y)"}
    async with widgets.kube.watch(widgets.collection, **query) as watch:
        await widgets.create(widget("w"))
        await widgets.patch("w", {"metadata": {"labels": {"l": "x"}}}, MERGE)
        await widgets.patch("w", {"metadata": {"labels": {"l": "y"}}}, MERGE)
        await widgets.patch("w", {"metadata": {"labels": {"l": "z"}}}, MERGE)
        assert await watch.names(3) == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]


async def test_a_watch_of_one_object(widgets: Widgets) -> None:
    await widgets.create(widget("other"))
    await widgets.create(widget("w"))
    async with widgets.kube.watch(widgets.collection, fieldSelector="metadata.name=w") as watch:
        assert await watch.names(1) == [("ADDED", "w")]


async def test_initial_events_end_with_a_marked_bookmark(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    probe = await widgets.kube.send("GET", widgets.collection, query={**query, "watch": "true", "timeoutSeconds": "1"})
    if probe.code == 422:
        pytest.skip("this Kubernetes has no streaming lists")
    async with widgets.kube.watch(widgets.collection, **query) as watch:
        assert await watch.names(1) == [("ADDED", "w")]
        type_, bookmark = await watch.next()
    assert type_ == "BOOKMARK"
    assert bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"


async def test_a_watch_ends_at_its_timeout(widgets: Widgets) -> None:
    query = {"watch": "true", "timeoutSeconds": "1"}
    assert (await widgets.kube.send("GET", widgets.collection, query=query)).code == 200


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("l=x", ["a"]),
        ("l!=x", ["b", "c"]),
        ("l", ["a", "b"]),
        ("!l", ["c"]),
        ("l in (x,y)", ["a", "b"]),
        ("l notin (x)", ["b", "c"]),
        ("l=x,m=1", ["a"]),
    ],
)
async def test_label_selectors(widgets: Widgets, selector: str, names: list[str]) -> None:
    for name, labels in (("a", {"l": "x", "m": "1"}), ("b", {"l": "y"}), ("c", {})):
        await widgets.create(widget(name, metadata={"labels": labels}))
    found = (await widgets.kube.send("GET", widgets.collection, query={"labelSelector": selector})).ok()
    assert [w["metadata"]["name"] for w in found["items"]] == names


@pytest.mark.parametrize(
    "query", [{"labelSelector": "l in x"}, {"fieldSelector": "spec.size=1"}], ids=["label", "field"]
)
async def test_bad_selectors_are_refused(widgets: Widgets, query: dict[str, str]) -> None:
    (await widgets.kube.send("GET", widgets.collection, query=query)).failed(400, "BadRequest")
