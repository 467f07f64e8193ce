"""What goes wrong around the operator must not keep it from what matters: a writer, endpoints, and the truth told."""

from typing import Any

import pytest
from borealis_operator.api.errors import KubeError
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.plan.facts import Manifest

from .conftest import KEY, Stage


def told(stage: Stage) -> dict[str, Any]:
    return {c["type"]: c for c in stage.status["conditions"]}


async def test_events_that_cannot_be_posted_do_not_keep_a_writer_away(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = FakeKube.create

    async def full(self: FakeKube, manifest: Manifest) -> Object:
        if manifest["kind"] == "Event":
            raise KubeError("403 exceeded quota: events")
        return await create(self, manifest)

    monkeypatch.setattr(FakeKube, "create", full)
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    assert running.status["status"] == "available"


async def test_the_successor_is_asked_before_anything_is_written(running: Stage) -> None:
    running.world.die(running.writer_pod()["metadata"]["uid"])
    asked: list[int] = []
    running.kube.on_write = lambda verb, kind, name: asked.append(len(running.world.asked))
    before = len(running.world.asked)
    await running.reconciler.once(KEY)
    assert asked
    assert min(asked) == before + 1
