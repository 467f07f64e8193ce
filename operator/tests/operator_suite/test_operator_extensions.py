"""`spec.extensions` reaches the writer, whoever it is, and what cannot be made is told with its reason."""

from dataclasses import replace
from typing import Any

import pytest
from borealis_engine.contract.status import DatabaseSpec, InstanceStatus
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.extensions import parse_extensions

from .conftest import KEY, Stage

NO_SUCH = "there is no database reports: create it, or name another"


def told(stage: Stage) -> dict[str, Any]:
    return {c["type"]: c for c in stage.status["conditions"]}


def ask(stage: Stage, *entries: dict[str, str]) -> None:
    stage.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]["extensions"] = list(entries)


def writer(stage: Stage) -> InstanceStatus:
    found = stage.world.statuses[stage.writer_pod()["metadata"]["uid"]]
    assert isinstance(found, InstanceStatus)
    return found


async def test_extensions_reach_the_writer_and_every_later_one(running: Stage) -> None:
    assert "ExtensionsReady" not in told(running)
    before = writer(running).database
    ask(running, {"name": "postgres_fdw"}, {"name": "hstore", "database": "app"}, {"name": "hstore"})
    await running.settle()
    assert writer(running).database != before
    assert writer(running).extensions == {"hstore in app": "", "postgres_fdw in app": ""}
    assert told(running)["ExtensionsReady"]["status"] == "True"
    running.world.die(running.writer_pod()["metadata"]["uid"])
    await running.settle()
    assert writer(running).extensions == {"hstore in app": "", "postgres_fdw in app": ""}
    ask(running)
    await running.settle()
    assert writer(running).database == before
    assert "ExtensionsReady" not in told(running)


async def test_what_cannot_be_made_is_named_and_the_cluster_is_ready_all_the_same(running: Stage) -> None:
    running.world.refused_extensions["dblink in reports"] = NO_SUCH
    ask(running, {"name": "dblink", "database": "reports"}, {"name": "postgres_fdw"})
    await running.settle()
    found = told(running)["ExtensionsReady"]
    assert (found["status"], found["reason"]) == ("False", "ExtensionRefused")
    assert found["message"] == f"spec.extensions: dblink in reports: {NO_SUCH}"
    assert told(running)["Ready"]["status"] == "True"
    running.world.refused_extensions.clear()
    uid = running.writer_pod()["metadata"]["uid"]
    running.world.statuses[uid] = replace(writer(running), extensions=dict.fromkeys(writer(running).extensions, ""))
    await running.settle()
    assert told(running)["ExtensionsReady"]["reason"] == "Ready"


async def test_a_writer_that_does_not_speak_of_them_has_not_made_them(running: Stage) -> None:
    """An agent of an older release takes the specification, leaves out what it does not know, and says its digest."""
    ask(running, {"name": "postgres_fdw"})
    await running.settle()
    running.world.statuses[running.writer_pod()["metadata"]["uid"]] = replace(writer(running), extensions={})
    await running.settle()
    found = told(running)["ExtensionsReady"]
    assert (found["status"], found["reason"]) == ("False", "Pending")
    assert "postgres_fdw in app" in found["message"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("file_fdw", "files of the server"),
        ("plpython3u", "operating system user"),
        ("pageinspect", "beneath all checks"),
        ("auto_explain", "spec.parameters.session_preload_libraries"),
        ("x; drop database app", "not among those"),
    ],
)
def test_others_are_refused_by_name_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(ConfigInvalid, match=why) as refused:
        parse_extensions({"extensions": [{"name": name}]})
    assert str(refused.value).startswith(f"spec.extensions: {name!r} is not made: ")


def test_the_specification_travels_whole() -> None:
    sent = DatabaseSpec(
        master_username="u", master_password="p", database_name="", digest="d", extensions={"a": ("b",)}
    )
    assert DatabaseSpec.from_json(sent.to_json()) == sent
