"""Parameters reach every instance, what cannot be had is told by name, and no mistake of a user stops a pass."""

from dataclasses import replace
from typing import Any

from borealis_engine.contract.names import ENV_SETTINGS
from borealis_engine.contract.settings import OWN, Settings
from borealis_engine.contract.status import InstanceStatus, StorageStatus
from borealis_operator.plan.settings import render_settings

from .conftest import KEY, Stage


def told(stage: Stage) -> dict[str, Any]:
    return {c["type"]: c for c in stage.status["conditions"]}


def ask(stage: Stage, parameters: dict[str, str | int]) -> None:
    spec = stage.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    spec["parameters"] = parameters


def instances(stage: Stage) -> list[InstanceStatus]:
    return [s for s in stage.world.statuses.values() if isinstance(s, InstanceStatus)]


def test_the_digest_tells_settings_apart_and_is_empty_for_none() -> None:
    plain = render_settings({}, read_only=False)
    assert plain == Settings()
    some = [
        render_settings({"work_mem": "8MB"}, read_only=False),
        render_settings({"work_mem": "9MB"}, read_only=False),
        render_settings({"work_mem": "8MB"}, read_only=True),
        render_settings({}, read_only=True),
        plain,
    ]
    assert len({s.digest for s in some}) == len(some)
    assert render_settings({"a": "1", "b": "2"}, read_only=False) == render_settings(
        {"b": "2", "a": "1"}, read_only=False
    )


def test_borealis_own_never_reach_an_instance() -> None:
    settings = render_settings({"work_mem": "8MB", **dict.fromkeys(OWN, "x")}, read_only=False)
    assert dict(settings.parameters) == {"work_mem": "8MB"}
    assert settings.digest == render_settings({"work_mem": "8MB"}, read_only=False).digest


async def test_a_change_reaches_every_instance_and_restarts_none(running: Stage) -> None:
    before = running.named("Pod")
    ask(running, {"work_mem": "8MB", "statement_timeout": 1000})
    await running.settle()
    digest = render_settings({"work_mem": "8MB", "statement_timeout": "1000"}, read_only=False).digest
    assert [s.settings for s in instances(running)] == [digest] * 3
    assert running.named("Pod") == before
    assert told(running)["ParametersApplied"]["reason"] == "Applied"
    ask(running, {})
    await running.settle()
    assert [s.settings for s in instances(running)] == [""] * 3


async def test_a_new_pod_is_made_with_the_parameters(running: Stage) -> None:
    ask(running, {"work_mem": "8MB"})
    await running.settle()
    running.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]["readers"] = 3
    before = set(running.named("Pod"))
    await running.settle()
    (fresh,) = set(running.named("Pod")) - before
    env = {e["name"]: e.get("value") for e in running.pod(fresh)["spec"]["containers"][0]["env"]}
    assert Settings.from_json(env[ENV_SETTINGS] or "").parameters == {"work_mem": "8MB"}
    assert told(running)["ParametersApplied"]["status"] == "True"


async def test_a_full_volume_makes_every_instance_read_only_until_there_is_room(running: Stage) -> None:
    def fill(percent: int) -> None:
        for uid, status in running.world.statuses.items():
            if isinstance(status, StorageStatus):
                running.world.statuses[uid] = replace(status, bytes_used=percent << 20, bytes_free=100 - percent << 20)

    ask(running, {"work_mem": "8MB"})
    await running.settle()
    pods = running.named("Pod")
    for percent, read_only in ((96, True), (94, True), (90, False)):
        fill(percent)
        await running.settle()
        digest = render_settings({"work_mem": "8MB"}, read_only=read_only).digest
        assert [s.settings for s in instances(running)] == [digest] * 3, percent
    assert running.named("Pod") == pods


async def test_one_of_borealis_own_is_named_and_the_others_hold(running: Stage) -> None:
    ask(running, {"fsync": "on", "work_mem": "8MB"})
    await running.settle()
    found = told(running)["ParametersApplied"]
    assert (found["status"], found["reason"]) == ("False", "ParameterReserved")
    assert f"spec.parameters.fsync: is Borealis's own: {OWN['fsync']}; remove it" in found["message"]
    assert {s.settings for s in instances(running)} == {render_settings({"work_mem": "8MB"}, read_only=False).digest}
    assert told(running)["Reconciled"]["status"] == "True"


async def test_a_misspelt_one_is_named_and_a_failover_goes_on(running: Stage) -> None:
    running.world.unknown = {"wrok_mem": "PostgreSQL knows no parameter of this name"}
    ask(running, {"wrok_mem": "8MB"})
    await running.settle()
    found = told(running)["ParametersApplied"]
    assert found["reason"] == "ParameterRefused"
    assert "spec.parameters.wrok_mem: PostgreSQL knows no parameter of this name" in found["message"]
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    ask(running, {"work_mem": "8MB"})
    await running.settle()
    assert told(running)["ParametersApplied"]["status"] == "True"


async def test_whoever_does_not_obey_is_named_until_it_does(running: Stage) -> None:
    name = next(n for n in running.named("Pod") if "instance" in n and n != running.status["writer"])
    running.world.deaf.add(running.pod(name)["metadata"]["uid"])
    ask(running, {"work_mem": "8MB"})
    await running.settle()
    found = told(running)["ParametersApplied"]
    assert found["reason"] == "Pending"
    assert found["message"] == f"{name} does not have them yet"
    running.world.deaf.clear()
    await running.settle()
    assert told(running)["ParametersApplied"]["status"] == "True"


async def test_an_agent_that_does_not_obey_is_not_asked_without_pause(running: Stage) -> None:
    for name in running.named("Pod"):
        running.world.deaf.add(running.pod(name)["metadata"]["uid"])
    ask(running, {"work_mem": "8MB"})
    await running.settle()
    assert await running.reconciler.once(KEY) >= 5.0


async def test_without_parameters_an_agent_of_an_older_release_is_as_it_should_be(running: Stage) -> None:
    running.world.outdated = {running.pod(n)["metadata"]["uid"] for n in running.named("Pod")}
    await running.settle()
    assert told(running)["ParametersApplied"]["status"] == "True"
    assert told(running)["InstancesUpToDate"]["status"] == "True"
