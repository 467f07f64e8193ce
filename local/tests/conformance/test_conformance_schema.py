"""Custom kinds: defaults, pruning, validation, CEL, subresources, tables, discovery."""

from typing import Any

import pytest
from kube import MERGE
from widgets import CRD, CRD_PATH, GROUP, VERSION, Widgets, widget


async def test_defaults_are_filled_in(widgets: Widgets) -> None:
    spec = (await widgets.create(widget("w", parts=[{"name": "x"}]))).ok()["spec"]
    assert (spec["shape"], spec["replicas"], spec["nested"]) == ("round", 1, {"depth": 3})
    assert spec["parts"] == [{"name": "x", "color": "grey"}]


async def test_unknown_fields_are_dropped_with_a_warning(widgets: Widgets) -> None:
    obj = widget("w", bogus=1, free={"any": {"thing": 1}})
    made = await widgets.create(obj, fieldValidation="Warn")
    assert "bogus" not in made.ok()["spec"]
    assert made.body["spec"]["free"] == {"any": {"thing": 1}}
    assert 'unknown field "spec.bogus"' in made.headers["Warning"].replace('\\"', '"')


async def test_unknown_fields_are_refused_when_strict(widgets: Widgets) -> None:
    answer = await widgets.create(widget("w", bogus=1), fieldValidation="Strict")
    assert 'unknown field "spec.bogus"' in answer.failed(400, "BadRequest")["message"]


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        pytest.param({"size": 0}, "spec.size", "FieldValueInvalid", id="minimum"),
        pytest.param({"size": 101}, "spec.size", "FieldValueInvalid", id="maximum"),
        pytest.param({"size": "many"}, "spec.size", "FieldValueTypeInvalid", id="type"),
        pytest.param({"shape": "oval"}, "spec.shape", "FieldValueNotSupported", id="enum"),
        pytest.param({"code": "A1"}, "spec.code", "FieldValueInvalid", id="pattern"),
        pytest.param({"code": "toolong"}, "spec.code", "FieldValueTooLong", id="length"),
        pytest.param({"parts": [{"weight": 1}]}, "spec.parts[0].name", "FieldValueRequired", id="required"),
        pytest.param({"parts": [{"name": "x"}, {"name": "x"}]}, "spec.parts[1]", "FieldValueDuplicate", id="key"),
        pytest.param({"tags": ["x", "x"]}, "spec.tags[1]", "FieldValueDuplicate", id="set"),
    ],
)
async def test_what_the_schema_forbids(widgets: Widgets, spec: dict[str, Any], field: str, reason: str) -> None:
    status = (await widgets.create(widget("w", **spec))).failed(422, "Invalid")
    causes = {c["field"]: c["reason"] for c in status["details"]["causes"]}
    assert causes.get(field) == reason, status
    assert status["message"].startswith(f'Widget.{GROUP} "w" is invalid: ')


async def test_required_fields(widgets: Widgets) -> None:
    obj = {"apiVersion": VERSION, "kind": "Widget", "metadata": {"name": "w"}, "spec": {}}
    status = (await widgets.create(obj)).failed(422, "Invalid")
    assert status["details"]["causes"][0]["field"] == "spec.size"


async def test_rules_hold_on_create_and_update(widgets: Widgets) -> None:
    refused = (await widgets.create(widget("w", size=5, limit=3))).failed(422, "Invalid")
    assert "size of a round widget is above the limit" in refused["message"]
    assert refused["details"]["causes"][0]["field"] == "spec"
    await widgets.create(widget("w", size=3, limit=3))
    (await widgets.patch("w", {"spec": {"size": 4}}, MERGE)).failed(422, "Invalid")


async def test_transition_rules_see_the_old_value(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    (await widgets.patch("w", {"spec": {"id": "one"}}, MERGE)).ok()
    refused = (await widgets.patch("w", {"spec": {"id": "two"}}, MERGE)).failed(422, "Invalid")
    assert "id cannot change" in refused["message"]
    assert refused["details"]["causes"][0]["field"] == "spec.id"


async def test_status_and_spec_are_written_apart(widgets: Widgets) -> None:
    made = (await widgets.create({**widget("w"), "status": {"phase": "early"}})).ok()
    assert "status" not in made
    told = (await widgets.put({**made, "spec": {"size": 9}, "status": {"phase": "good"}}, "status")).ok()
    assert (told["spec"]["size"], told["status"]) == (1, {"phase": "good"})
    kept = (await widgets.put({**told, "status": {"phase": "bad"}})).ok()
    assert kept["status"] == {"phase": "good"}
    patched = (await widgets.patch("w", {"status": {"phase": "done"}}, MERGE, "status")).ok()
    assert patched["status"] == {"phase": "done"}


async def test_scale_reads_and_writes_the_replicas(widgets: Widgets) -> None:
    made = (await widgets.create(widget("w", replicas=2))).ok()
    await widgets.put({**made, "status": {"replicas": 1, "selector": "a=b"}}, "status")
    scale = (await widgets.kube.send("GET", widgets.path("w", "scale"))).ok()
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "a=b"})
    wider = (await widgets.put({**scale, "spec": {"replicas": 4}}, "scale")).ok()
    assert wider["spec"]["replicas"] == 4
    after = (await widgets.get("w")).ok()
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (4, 2)
    (await widgets.put({**scale, "spec": {"replicas": 9}}, "scale")).failed(409, "Conflict")
    patched = (await widgets.patch("w", {"spec": {"replicas": 0}}, MERGE, "scale")).ok()
    assert patched["spec"].get("replicas", 0) == 0


async def test_tables_have_the_columns_of_the_kind(widgets: Widgets) -> None:
    await widgets.create(widget("w", size=7))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    table = (await widgets.kube.send("GET", widgets.collection, accept=accept)).ok()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [c["name"] for c in table["columnDefinitions"]]
    assert columns == ["Name", "Size", "Phase", "Shape", "Age"]
    assert [c["priority"] for c in table["columnDefinitions"]] == [0, 0, 0, 1, 0]
    (row,) = table["rows"]
    assert row["cells"][:2] == ["w", 7]
    assert row["cells"][3] == "round"
    assert row["cells"][4].endswith("s")
    assert row["object"]["metadata"]["name"] == "w"


async def test_a_single_object_is_a_table_too(widgets: Widgets) -> None:
    await widgets.create(widget("w"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = (await widgets.kube.send("GET", widgets.path("w"), accept=accept)).ok()
    assert (table["kind"], len(table["rows"])) == ("Table", 1)


async def test_discovery_names_the_kind_and_its_subresources(widgets: Widgets) -> None:
    groups = (await widgets.kube.send("GET", "/apis")).ok()["groups"]
    group = next(g for g in groups if g["name"] == GROUP)
    assert group["preferredVersion"] == {"groupVersion": VERSION, "version": "v1"}
    listed = (await widgets.kube.send("GET", f"/apis/{VERSION}")).ok()
    found = {r["name"]: r for r in listed["resources"]}
    assert {"widgets", "widgets/status", "widgets/scale"} <= found.keys()
    assert (found["widgets"]["kind"], found["widgets"]["shortNames"]) == ("Widget", ["wdg"])
    assert {"get", "list", "watch", "create", "update", "patch", "delete"} <= set(found["widgets"]["verbs"])
    assert found["widgets/scale"]["kind"] == "Scale"


async def test_a_rule_that_does_not_compile_is_refused(widgets: Widgets) -> None:
    schema = {"type": "object", "x-kubernetes-validations": [{"rule": "self. =="}]}
    names = {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {**CRD["spec"], "names": names, "versions": [version]}
    gadget = {**CRD, "metadata": {"name": f"gadgets.{GROUP}"}, "spec": spec}
    (await widgets.kube.send("POST", CRD_PATH, gadget)).failed(422, "Invalid")


async def test_paths_that_are_no_api(widgets: Widgets) -> None:
    assert (await widgets.kube.send("GET", f"/apis/{GROUP}/v9/widgets")).code == 404  # said in plain text, not a Status
    assert (await widgets.kube.send("GET", "/apis/none.such.group/v1")).code == 404
    nowhere = await widgets.kube.send("POST", f"/apis/{VERSION}/widgets", widget("w"))
    assert nowhere.code in (404, 405)  # Kubernetes itself says 404 of custom kinds, 405 of its own


async def test_rules_are_not_tried_on_an_object_of_the_wrong_form(widgets: Widgets) -> None:
    status = (await widgets.create(widget("w", size=5, limit=3, shape="oval"))).failed(422, "Invalid")
    causes = {c["field"]: c["message"] for c in status["details"]["causes"]}
    assert set(causes) == {"spec.shape", "<nil>"}
    assert "some validation rules were not checked" in causes["<nil>"]


async def test_a_number_out_of_range_does_not_hide_a_broken_rule(widgets: Widgets) -> None:
    status = (await widgets.create(widget("w", size=101, limit=3))).failed(422, "Invalid")
    assert {c["field"] for c in status["details"]["causes"]} == {"spec.size", "spec"}
