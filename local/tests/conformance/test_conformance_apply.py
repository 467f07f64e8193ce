"""Server-side apply: ownership, removal, conflicts."""

from typing import Any

from kube import APPLY, MERGE
from widgets import Widgets, widget


def owned(obj: dict[str, Any], manager: str, operation: str = "Apply") -> dict[str, Any]:
    """Give the fields that a manager owns."""
    found = [e for e in obj["metadata"]["managedFields"] if (e["manager"], e["operation"]) == (manager, operation)]
    assert len(found) == 1, obj["metadata"]["managedFields"]
    return dict(found[0]["fieldsV1"])


async def test_apply_creates_and_owns_what_it_says(widgets: Widgets) -> None:
    made = await widgets.apply("w", "a", spec={"size": 2, "notes": {"x": "1"}}, metadata={"labels": {"l": "1"}})
    assert made.code == 201
    fields = owned(made.ok(), "a")
    assert set(fields["f:spec"]) == {"f:size", "f:notes"}
    assert "f:x" in fields["f:spec"]["f:notes"]
    assert "f:l" in fields["f:metadata"]["f:labels"]
    assert made.body["spec"]["shape"] == "round"  # defaulted, owned by nobody


async def test_applying_the_same_again_changes_nothing(widgets: Widgets) -> None:
    first = (await widgets.apply("w", "a", spec={"size": 2, "tags": ["x"]})).ok()
    again = await widgets.apply("w", "a", spec={"size": 2, "tags": ["x"]})
    assert again.code == 200
    assert again.body["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_field_no_longer_said_is_removed(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 2, "limit": 9, "notes": {"x": "1", "y": "2"}})
    left = (await widgets.apply("w", "a", spec={"size": 2, "notes": {"y": "2"}})).ok()
    assert "limit" not in left["spec"]
    assert left["spec"]["notes"] == {"y": "2"}


async def test_a_defaulted_field_no_longer_said_falls_back_to_its_default(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 2, "shape": "square"})
    left = (await widgets.apply("w", "a", spec={"size": 2})).ok()
    assert left["spec"]["shape"] == "round"


async def test_a_field_that_another_still_says_stays(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 2, "limit": 9})
    both = (await widgets.apply("w", "b", spec={"limit": 9})).ok()
    assert "f:limit" in owned(both, "a")["f:spec"]
    assert "f:limit" in owned(both, "b")["f:spec"]
    left = (await widgets.apply("w", "a", spec={"size": 2})).ok()
    assert left["spec"]["limit"] == 9
    gone = (await widgets.apply("w", "b", spec={})).ok()
    assert "limit" not in gone["spec"]


async def test_another_value_is_a_conflict_until_forced(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 2, "code": "aa"})
    refused = (await widgets.apply("w", "b", spec={"size": 3})).failed(409, "Conflict")
    assert refused["message"].startswith('Apply failed with 1 conflict: conflict with "a"')
    (cause,) = refused["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.size")
    taken = (await widgets.apply("w", "b", spec={"size": 3}, force=True)).ok()
    assert taken["spec"]["size"] == 3
    assert "f:size" not in owned(taken, "a")["f:spec"]
    assert "f:size" in owned(taken, "b")["f:spec"]


async def test_several_conflicts_are_all_told(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 2, "code": "aa"})
    refused = (await widgets.apply("w", "b", spec={"size": 3, "code": "bb"})).failed(409, "Conflict")
    assert refused["message"].startswith("Apply failed with 2 conflicts")
    assert {c["field"] for c in refused["details"]["causes"]} == {".spec.size", ".spec.code"}


async def test_items_of_a_keyed_list_are_owned_one_by_one(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 1, "parts": [{"name": "x", "weight": 1}]})
    both = (await widgets.apply("w", "b", spec={"parts": [{"name": "y", "weight": 2}]})).ok()
    assert {p["name"]: p["weight"] for p in both["spec"]["parts"]} == {"x": 1, "y": 2}
    mine = owned(both, "b")["f:spec"]["f:parts"]
    assert list(mine) == ['k:{"name":"y"}']
    left = (await widgets.apply("w", "a", spec={"size": 1})).ok()
    assert [p["name"] for p in left["spec"]["parts"]] == ["y"]


async def test_an_item_stays_while_another_owns_a_field_of_it(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 1, "parts": [{"name": "x", "weight": 1}]})
    await widgets.apply("w", "b", spec={"parts": [{"name": "x", "color": "red"}]})
    left = (await widgets.apply("w", "a", spec={"size": 1})).ok()
    assert left["spec"]["parts"] == [{"name": "x", "color": "red"}]


async def test_conflict_within_a_keyed_list_names_the_item(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 1, "parts": [{"name": "x", "weight": 1}]})
    refused = (await widgets.apply("w", "b", spec={"parts": [{"name": "x", "weight": 2}]})).failed(409, "Conflict")
    assert refused["details"]["causes"][0]["field"] == '.spec.parts[name="x"].weight'


async def test_sets_merge_and_plain_lists_do_not(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 1, "tags": ["x"], "whole": ["1"]})
    both = (await widgets.apply("w", "b", spec={"tags": ["y"]})).ok()
    assert sorted(both["spec"]["tags"]) == ["x", "y"]
    refused = (await widgets.apply("w", "b", spec={"tags": ["y"], "whole": ["2"]})).failed(409, "Conflict")
    assert refused["details"]["causes"][0]["field"] == ".spec.whole"
    left = (await widgets.apply("w", "a", spec={"size": 1, "whole": ["1"]})).ok()
    assert left["spec"]["tags"] == ["y"]


async def test_a_plain_write_takes_fields_from_an_applier(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 1, "limit": 5})
    changed = (await widgets.patch("w", {"spec": {"limit": 7}}, MERGE, fieldManager="hand")).ok()
    assert "f:limit" not in owned(changed, "a")["f:spec"]
    assert "f:limit" in owned(changed, "hand", "Update")["f:spec"]
    refused = await widgets.apply("w", "a", spec={"size": 1, "limit": 5})
    assert 'conflict with "hand"' in refused.failed(409, "Conflict")["message"]


async def test_an_applier_does_not_conflict_with_what_it_does_not_change(widgets: Widgets) -> None:
    (await widgets.create(widget("w", limit=5), fieldManager="hand")).ok()
    shared = (await widgets.apply("w", "a", spec={"limit": 5})).ok()
    assert "f:limit" in owned(shared, "hand", "Update")["f:spec"]
    assert "f:limit" in owned(shared, "a")["f:spec"]


async def test_status_is_applied_through_its_own_path(widgets: Widgets) -> None:
    made = (await widgets.apply("w", "a", spec={"size": 1}, status={"phase": "ignored"})).ok()
    assert "status" not in made
    done = (await widgets.apply("w", "a", "status", status={"phase": "good"}, spec={"size": 9})).ok()
    assert (done["status"], done["spec"]["size"]) == ({"phase": "good"}, 1)
    entry = next(e for e in done["metadata"]["managedFields"] if e.get("subresource") == "status")
    assert (entry["manager"], entry["operation"], set(entry["fieldsV1"])) == ("a", "Apply", {"f:status"})


async def test_apply_needs_a_manager(widgets: Widgets) -> None:
    answer = await widgets.patch("w", widget("w"), APPLY)
    answer.failed(422, "Invalid")


async def test_apply_refuses_managed_fields(widgets: Widgets) -> None:
    answer = await widgets.apply("w", "a", spec={"size": 1}, metadata={"managedFields": [{"manager": "x"}]})
    answer.failed(400, "BadRequest")


async def test_apply_with_an_old_version_is_a_conflict(widgets: Widgets) -> None:
    first = (await widgets.apply("w", "a", spec={"size": 1})).ok()
    old = first["metadata"]["resourceVersion"]
    (await widgets.apply("w", "a", spec={"size": 2}, metadata={"resourceVersion": old})).ok()
    stale = await widgets.apply("w", "a", spec={"size": 3}, metadata={"resourceVersion": old})
    stale.failed(409, "Conflict")
    assert (await widgets.get("w")).ok()["spec"]["size"] == 2


async def test_apply_with_a_uid_does_not_make_another_object(widgets: Widgets) -> None:
    first = (await widgets.apply("w", "a", spec={"size": 1})).ok()
    (await widgets.delete("w")).ok()
    answer = await widgets.apply("w", "a", spec={"size": 1}, metadata={"uid": first["metadata"]["uid"]})
    answer.failed(409, "Conflict")
    assert (await widgets.get("w")).code == 404


async def test_apply_merges_kubernetes_own_lists_by_key(widgets: Widgets) -> None:
    path = f"/api/v1/namespaces/{widgets.kube.namespace}/services/s"

    async def applied(manager: str, *ports: dict[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": list(ports)}}
        answer = await widgets.kube.send("PATCH", path, body, kind=APPLY, query={"fieldManager": manager})
        return dict(answer.ok())

    await applied("a", {"name": "one", "port": 1, "protocol": "TCP"})
    both = await applied("b", {"name": "two", "port": 2, "protocol": "TCP"})
    assert {p["name"] for p in both["spec"]["ports"]} == {"one", "two"}
    assert both["spec"]["ports"][0]["targetPort"] == 1


async def test_an_empty_keyed_list_is_owned_by_nobody(widgets: Widgets) -> None:
    made = (await widgets.apply("w", "a", spec={"size": 1, "parts": [], "tags": [], "notes": {}, "whole": []})).ok()
    assert set(owned(made, "a")["f:spec"]) == {"f:size", "f:notes", "f:whole"}
    assert made["spec"]["parts"] == []


async def test_a_merged_list_keeps_the_order_of_the_configuration(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 1, "parts": [{"name": n} for n in "yx"]})
    both = (await widgets.apply("w", "b", spec={"parts": [{"name": n} for n in "zx"]})).ok()
    assert [p["name"] for p in both["spec"]["parts"]] == ["y", "z", "x"]


async def test_an_item_goes_with_its_owner_whoever_wrote_into_it(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 1, "parts": [{"name": "x"}, {"name": "y"}]})
    items = [{"name": "x", "weight": 3, "color": "red"}, {"name": "y", "color": "grey"}]
    written = (await widgets.patch("w", {"spec": {"parts": items}}, MERGE, fieldManager="hand")).ok()
    assert owned(written, "hand", "Update")["f:spec"]["f:parts"] == {'k:{"name":"x"}': {"f:color": {}, "f:weight": {}}}
    left = (await widgets.apply("w", "a", spec={"size": 1, "parts": [{"name": "y"}]})).ok()
    assert [p["name"] for p in left["spec"]["parts"]] == ["y"]


async def test_free_keys_are_owned_with_what_they_hold(widgets: Widgets) -> None:
    made = (await widgets.apply("w", "a", spec={"size": 1, "free": {"x": {"y": 1}}})).ok()
    assert owned(made, "a")["f:spec"]["f:free"] == {"f:x": {".": {}, "f:y": {}}}


async def test_emptied_labels_are_gone(widgets: Widgets) -> None:
    await widgets.apply("w", "a", spec={"size": 1}, metadata={"labels": {"l": "1"}})
    left = (await widgets.patch("w", {"metadata": {"labels": {"l": None}}}, MERGE)).ok()
    assert "labels" not in left["metadata"]
