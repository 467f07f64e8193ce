"""Create, update, patch, delete: versions, conflicts, finalizers, owners."""

import copy

import pytest
from kube import JSON_PATCH, MERGE, STRATEGIC, until
from widgets import VERSION, Widgets, widget


async def test_create_fills_metadata(widgets: Widgets) -> None:
    made = await widgets.create(widget("w"))
    assert made.code == 201
    metadata = made.body["metadata"]
    assert metadata["generation"] == 1
    assert metadata["namespace"] == widgets.kube.namespace
    assert {"uid", "resourceVersion", "creationTimestamp"} <= metadata.keys()


async def test_create_makes_names(widgets: Widgets) -> None:
    obj = widget("", metadata={"generateName": "made-"})
    del obj["metadata"]["name"]
    names = {(await widgets.create(obj)).ok()["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(n.startswith("made-") and len(n) == 10 for n in names)


async def test_create_twice_is_refused(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    again = (await widgets.create(widget("w"))).failed(409, "AlreadyExists")
    assert again["message"] == 'widgets.conformance.borealis.dev "w" already exists'


async def test_create_in_no_namespace_is_refused(widgets: Widgets) -> None:
    answer = await widgets.kube.send("POST", f"/apis/{VERSION}/namespaces/none-such/widgets", widget("w"))
    assert answer.failed(404, "NotFound")["message"] == 'namespaces "none-such" not found'


async def test_bad_names_are_refused(widgets: Widgets) -> None:
    answer = (await widgets.create(widget("No_Name"))).failed(422, "Invalid")
    assert answer["details"]["causes"][0]["field"] == "metadata.name"


async def test_what_is_not_there_is_not_found(widgets: Widgets) -> None:
    answer = (await widgets.get("w")).failed(404, "NotFound")
    assert answer["message"] == 'widgets.conformance.borealis.dev "w" not found'
    assert answer["details"] == {"name": "w", "group": "conformance.borealis.dev", "kind": "widgets"}


async def test_update_needs_the_newest_version(widgets: Widgets) -> None:
    old = (await widgets.create(widget("w"))).ok()
    new = (await widgets.put({**old, "spec": {**old["spec"], "size": 2}})).ok()
    assert int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
    stale = (await widgets.put({**old, "spec": {**old["spec"], "size": 3}})).failed(409, "Conflict")
    assert "the object has been modified" in stale["message"]


async def test_update_without_a_version_is_refused_for_custom_kinds(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    answer = (await widgets.put(widget("w", size=2))).failed(422, "Invalid")
    assert answer["details"]["causes"][0]["field"] == "metadata.resourceVersion"


async def test_update_of_another_object_of_that_name_is_refused(widgets: Widgets) -> None:
    old = (await widgets.create(widget("w"))).ok()
    other = copy.deepcopy(old)
    other["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    (await widgets.put(other)).failed(409, "Conflict")


async def test_generation_counts_changes_of_the_spec_only(widgets: Widgets) -> None:
    made = (await widgets.create(widget("w"))).ok()
    labelled = (await widgets.patch("w", {"metadata": {"labels": {"a": "b"}}}, MERGE)).ok()
    assert labelled["metadata"]["generation"] == 1
    told = (await widgets.put({**labelled, "status": {"phase": "x"}}, "status")).ok()
    assert told["metadata"]["generation"] == 1
    sized = (await widgets.patch("w", {"spec": {"size": 2}}, MERGE)).ok()
    assert sized["metadata"]["generation"] == 2
    assert sized["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_patch_that_changes_nothing_writes_nothing(widgets: Widgets) -> None:
    made = (await widgets.create(widget("w"))).ok()
    same = (await widgets.patch("w", {"spec": {"size": 1}}, MERGE)).ok()
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_merge_patch_removes_by_null_and_locks_by_version(widgets: Widgets) -> None:
    made = (await widgets.create(widget("w", limit=5, notes={"a": "1", "b": "2"}))).ok()
    old = made["metadata"]["resourceVersion"]
    left = (await widgets.patch("w", {"spec": {"limit": None, "notes": {"a": None}}}, MERGE)).ok()
    assert "limit" not in left["spec"]
    assert left["spec"]["notes"] == {"b": "2"}
    stale = await widgets.patch("w", {"metadata": {"resourceVersion": old}, "spec": {"size": 3}}, MERGE)
    stale.failed(409, "Conflict")


async def test_json_patch_tests_and_changes(widgets: Widgets) -> None:
    await widgets.create(widget("w", whole=["a"]))
    good = [{"op": "test", "path": "/spec/size", "value": 1}, {"op": "add", "path": "/spec/whole/-", "value": "b"}]
    assert (await widgets.patch("w", good, JSON_PATCH)).ok()["spec"]["whole"] == ["a", "b"]
    bad = [{"op": "test", "path": "/spec/size", "value": 5}, {"op": "remove", "path": "/spec/whole"}]
    (await widgets.patch("w", bad, JSON_PATCH)).failed(422, "Invalid")


async def test_custom_kinds_have_no_strategic_merge(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    (await widgets.patch("w", {"spec": {"size": 2}}, STRATEGIC)).failed(415, "UnsupportedMediaType")


async def test_strategic_merge_merges_ports_by_number(widgets: Widgets) -> None:
    path = f"/api/v1/namespaces/{widgets.kube.namespace}/services"
    ports = [{"name": "one", "port": 1}, {"name": "two", "port": 2}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}}
    (await widgets.kube.send("POST", path, service)).ok()
    patch = {
        "spec": {"ports": [{"port": 2, "name": "zwei"}, {"port": 1, "$patch": "delete"}, {"port": 3, "name": "drei"}]}
    }
    done = (await widgets.kube.send("PATCH", f"{path}/s", patch, kind=STRATEGIC)).ok()
    assert {p["port"]: p["name"] for p in done["spec"]["ports"]} == {2: "zwei", 3: "drei"}


async def test_secret_text_becomes_data(widgets: Widgets) -> None:
    path = f"/api/v1/namespaces/{widgets.kube.namespace}/secrets"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    made = (await widgets.kube.send("POST", path, secret)).ok()
    assert (made["data"], made["type"]) == ({"a": "Yg=="}, "Opaque")
    assert "stringData" not in made


async def test_finalizers_hold_a_deletion(widgets: Widgets) -> None:
    await widgets.create(widget("w", metadata={"finalizers": ["conformance.borealis.dev/hold"]}))
    answer = (await widgets.delete("w")).ok()
    assert "deletionTimestamp" in answer["metadata"]
    held = (await widgets.get("w")).ok()
    assert held["metadata"]["deletionTimestamp"] == answer["metadata"]["deletionTimestamp"]
    more = await widgets.patch("w", {"metadata": {"finalizers": ["conformance.borealis.dev/more"]}}, MERGE)
    assert "no new finalizers can be added" in more.failed(422, "Invalid")["message"]
    (await widgets.patch("w", {"metadata": {"finalizers": None}}, MERGE)).ok()
    assert (await widgets.get("w")).code == 404


async def test_deletion_answers_with_a_status(widgets: Widgets) -> None:
    made = (await widgets.create(widget("w"))).ok()
    gone = (await widgets.delete("w")).ok()
    assert (gone["kind"], gone["status"], gone["details"]["uid"]) == ("Status", "Success", made["metadata"]["uid"])
    (await widgets.delete("w")).failed(404, "NotFound")


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_deletion_has_preconditions(widgets: Widgets, field: str) -> None:
    made = (await widgets.create(widget("w"))).ok()
    wrong = {"uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": "1"}[field]
    (await widgets.delete("w", {"preconditions": {field: wrong}})).failed(409, "Conflict")
    (await widgets.delete("w", {"preconditions": {field: made["metadata"][field]}})).ok()


async def test_collections_are_deleted_by_label(widgets: Widgets) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        await widgets.create(widget(name, metadata={"labels": {"l": label}}))
    (await widgets.kube.send("DELETE", widgets.collection, query={"labelSelector": "l=x"})).ok()
    left = (await widgets.kube.send("GET", widgets.collection)).ok()
    assert [w["metadata"]["name"] for w in left["items"]] == ["c"]


async def test_what_is_owned_goes_with_its_owner(widgets: Widgets) -> None:
    owner = (await widgets.create(widget("owner"))).ok()
    reference = {"apiVersion": VERSION, "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"]}
    await widgets.create(widget("owned", metadata={"ownerReferences": [reference]}))
    (await widgets.delete("owner")).ok()

    async def gone() -> bool:
        return (await widgets.get("owned")).code == 404

    await until(gone, "the dependent is still there")


async def test_foreground_deletion_waits_for_dependents(widgets: Widgets) -> None:
    owner = (await widgets.create(widget("owner"))).ok()
    reference = {"apiVersion": VERSION, "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"]}
    held = {
        "ownerReferences": [{**reference, "blockOwnerDeletion": True}],
        "finalizers": ["conformance.borealis.dev/hold"],
    }
    await widgets.create(widget("owned", metadata=held))
    answer = (await widgets.delete("owner", {"propagationPolicy": "Foreground"})).ok()
    assert "foregroundDeletion" in answer["metadata"]["finalizers"]

    async def child_is_going() -> bool:
        return "deletionTimestamp" in (await widgets.get("owned")).ok()["metadata"]

    await until(child_is_going, "the dependent is not being deleted")
    assert (await widgets.get("owner")).code == 200
    (await widgets.patch("owned", {"metadata": {"finalizers": None}}, MERGE)).ok()

    async def gone() -> bool:
        return (await widgets.get("owner")).code == 404

    await until(gone, "the owner is still there")


async def test_dry_run_stores_nothing(widgets: Widgets) -> None:
    made = await widgets.create(widget("w"), dryRun="All")
    assert made.code == 201
    assert (await widgets.get("w")).code == 404
