"""A pod that knows a configuration that the ConfigMap does not: told, and repaired where that is safe (018)."""

from dataclasses import replace

import pytest
from borealis_engine.contract.status import StorageStatus

from .conftest import KEY, Stage
from .test_operator_healing import a_while, assert_healed, config, lose_claim, told


def claims(stage: Stage, pod: str, generation: int, revision: int = 1) -> None:
    """Have a pod say that it knows this configuration."""
    uid = stage.pod(pod)["metadata"]["uid"]
    stage.world.statuses[uid] = replace(stage.world.statuses[uid], generation=generation, revision=revision)


def storage_generations(stage: Stage) -> set[int]:
    return {s.generation for s in stage.world.statuses.values() if isinstance(s, StorageStatus)}


async def test_one_member_with_a_later_generation_is_named_and_passed_over(running: Stage) -> None:
    before = config(running)
    claims(running, "orders-storage-3", 6)
    await running.reconciler.once(KEY)
    condition = told(running, "StorageHealthy")
    assert (condition["status"], condition["reason"]) == ("False", "ConfigurationUnknown")
    assert "orders-storage-3 knows configuration 6, and the ConfigMap has 1" in condition["message"]
    await running.settle()
    after = config(running)
    assert (after.generation, after.members) == (7, before.members)
    assert storage_generations(running) == {7}
    assert told(running, "StorageHealthy")["status"] == "True"


async def test_nobody_is_blocked_from_being_replaced_by_it(running: Stage) -> None:
    claims(running, "orders-storage-1", 6)
    lose_claim(running)
    await running.settle()
    assert_healed(running)
    assert config(running).generation == 9


async def test_what_three_members_know_is_not_passed_over(running: Stage) -> None:
    for number in (0, 3, 5):
        claims(running, f"orders-storage-{number}", 3)
    await a_while(running, 30)
    assert config(running).generation == 1
    message = told(running, "StorageHealthy")["message"]
    assert "orders-storage-0 knows configuration 3, orders-storage-3 knows" in message
    assert "put back from a backup" in message
    assert "volume.json" in message


@pytest.mark.parametrize("revision", [50, 1 << 20])
async def test_a_later_address_book_is_followed_by_one_of_the_operators_own(running: Stage, revision: int) -> None:
    claims(running, "orders-storage-3", 1, revision)
    await running.settle()
    assert (config(running).generation, config(running).revision) == (1, revision + 1)
    assert {s.revision for s in running.world.statuses.values()} == {revision + 1}
