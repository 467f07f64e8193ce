"""An operator begins its work only once all of its kinds are served."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from borealis_operator.api.errors import KubeDown
from borealis_operator.main import command
from borealis_operator.main.command import OWN, parse_options, wait_for_api

Answer = frozenset[str] | KubeDown


class Discovery:
    """An API server that comes up by and by; the last answer stays."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = list(answers)
        self.listed = 0

    async def served(self, group: str, version: str) -> frozenset[str]:
        assert (group, version) == ("borealis.dev", "v1alpha1")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, KubeDown):
            raise answer
        return answer

    async def list(self, kind: str, namespace: str) -> list[object]:
        self.listed += 1
        return []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "POLL_S", 0.0)


async def test_the_operator_waits_for_each_of_its_kinds_and_says_once_which(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    most, some = OWN - {"snapshots"}, frozenset({"dbclusters"})
    api = Discovery([KubeDown("no answer"), frozenset(), some, some, most, OWN | {"others"}])
    await wait_for_api(api, parse_options([]))  # type: ignore[arg-type]
    assert api.listed == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the API server does not answer yet: no answer",
        "the API server knows no dbclusters, dbinstances, snapshots yet; apply the CRDs",
        "the API server knows no dbinstances, snapshots yet; apply the CRDs",
        "the API server knows no snapshots yet; apply the CRDs",
    ]


async def test_one_missing_kind_is_waited_for() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await wait_for_api(Discovery([OWN - {"dbinstances"}]), parse_options([]))  # type: ignore[arg-type]
