"""Room on the storage nodes: quantities, thresholds, hysteresis, and what an operator that hears too few may say."""

from dataclasses import replace
from typing import Any

import pytest
from borealis_engine.contract.status import StorageState, StorageStatus
from borealis_operator.api.quantities import parse_bytes, parse_quantity
from borealis_operator.plan.facts import Agent, Facts
from borealis_operator.plan.space import FULL, FULL_BACK, space_condition, storage_used, volume_is_full
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Stage
from .test_operator_conditions import facts_of
from .test_operator_faults import told
from .test_operator_plans import pod

SIZE = 10 << 30
CURRENT, FAILED = StorageState.CURRENT, StorageState.FAILED

BYTES = {
    "0": 0,
    "12": 12,
    "10Gi": 10 << 30,
    "1.5Gi": 3 << 29,
    "10G": 10**10,
    "500M": 500 * 10**6,
    "1k": 1000,
    "2Ki": 2048,
    "1Ti": 1 << 40,
    "1Pi": 1 << 50,
    "1Ei": 1 << 60,
    "12e6": 12 * 10**6,
    "1E3": 1000,
    "1E": 10**18,
    "0.1": 1,
    "1500m": 2,
    ".5Gi": 1 << 29,
}


@pytest.mark.parametrize(("text", "size"), BYTES.items(), ids=BYTES)
def test_quantities(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "Gi", "10 Gi", "10GiB", "ten", "1e", "0x10", "1,5Gi", "10gi"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def stored(shares: list[float | None], *, was: str = "", states: dict[int, StorageState] | None = None) -> Facts:
    """Give facts with storage nodes so full, of claims of 10Gi on disks ten times as large; None: not heard."""
    pods, claims = [], {}
    for index, share in enumerate(shares):
        name = f"orders-storage-{index}"
        used = int((share or 0.0) * SIZE)
        state = (states or {}).get(index, CURRENT)
        said = StorageStatus(name=name, member=str(index), state=state, bytes_used=used, bytes_free=10 * SIZE - used)
        agent = Agent(status=said, suspect=share is None)
        pods.append(pod(name, agent, component="storage"))
        claims["PersistentVolumeClaim", name] = {"kind": "PersistentVolumeClaim", "metadata": {"name": name}} | {
            "spec": {"resources": {"requests": {"storage": "10Gi"}}}
        }
    before = {"type": "StorageSpace", "status": "False", "reason": was, "message": ""} if was else None
    facts = facts_of(before=before)
    return Facts(cluster=facts.cluster, now=facts.now, entropy="", objects=claims, pods=tuple(pods))


LEVELS: dict[str, tuple[list[float | None], str, str]] = {
    "empty": ([0.0] * 6, "", "Enough"),
    "just below": ([0.849] * 6, "", "Enough"),
    "one nearly full": ([0.85] + [0.1] * 5, "", "NearlyFull"),
    "one quite full": ([1.0] + [0.1] * 5, "", "NearlyFull"),
    "two quite full": ([0.96, 0.96] + [0.94] * 4, "", "NearlyFull"),
    "three quite full": ([0.95] * 3 + [0.1] * 3, "", "Full"),
    "all": ([0.99] * 6, "Enough", "Full"),
    "full, and not yet well below": ([0.94] * 3 + [0.1] * 3, "Full", "Full"),
    "full, and well below": ([0.92] * 3 + [0.1] * 3, "Full", "NearlyFull"),
    "not full before": ([0.94] * 3 + [0.1] * 3, "NearlyFull", "NearlyFull"),
    "nearly full, and just below": ([0.84] + [0.1] * 5, "NearlyFull", "NearlyFull"),
    "nearly full, and well below": ([0.82] + [0.1] * 5, "NearlyFull", "Enough"),
    "two are gone and one runs full": ([None, None, 0.96, 0.1, 0.1, 0.1], "", "Full"),
    "two are gone": ([None, None, 0.1, 0.1, 0.1, 0.1], "", "Enough"),
    "too few are heard to call it full": ([None, None, None, 0.99, 0.99, 0.99], "NearlyFull", "NearlyFull"),
    "too few are heard to call it well": ([None, None, None, 0.1, 0.1, 0.1], "Full", "Full"),
    "nobody is heard": ([None] * 6, "Full", "Full"),
    "nobody was ever heard": ([None] * 6, "", "Enough"),
}


def test_who_has_only_just_begun_to_listen_calls_nothing_full() -> None:
    """An operator that took over: one member is quite full, and two that may have room have not been heard yet."""
    facts = stored([0.96, 0.1, 0.1, 0.1, None, None])
    deaf = [replace(p, agent=Agent()) if p.agent.suspect else p for p in facts.pods]
    assert volume_is_full(facts)
    assert not volume_is_full(replace(facts, pods=tuple(deaf)))
    most = stored([0.96, 0.96, 0.96, 0.1, None, None])
    deaf = [replace(p, agent=Agent()) if p.agent.suspect else p for p in most.pods]
    assert volume_is_full(replace(most, pods=tuple(deaf)))


@pytest.mark.parametrize(("shares", "was", "reason"), LEVELS.values(), ids=LEVELS)
def test_levels(shares: list[float | None], was: str, reason: str) -> None:
    facts = stored(shares, was=was)
    found = space_condition(facts)
    assert (found["reason"], found["status"]) == (reason, "True" if reason == "Enough" else "False")
    assert volume_is_full(facts) == (reason == "Full")


@given(st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6), st.sampled_from(["", "Enough", "NearlyFull", "Full"]))
def test_four_members_with_room_are_enough_and_fewer_are_not(shares: list[float], was: str) -> None:
    limit = FULL_BACK if was == "Full" else FULL
    room = sum(1 for share in shares if int(share * SIZE) / SIZE < limit)
    assert volume_is_full(stored(list(shares), was=was)) == (room < 4)


def test_a_member_that_acks_nothing_has_no_room_to_offer() -> None:
    states = {0: FAILED, 1: FAILED}
    assert volume_is_full(stored([0.1, 0.1, 0.96, 0.1, 0.1, 0.1], states=states))
    assert not volume_is_full(stored([0.1, 0.1, 0.94, 0.1, 0.1, 0.1], states=states))


def test_the_message_names_members_and_remedy() -> None:
    message = space_condition(stored([0.96, 0.97, 0.98, 0.1, 0.1, 0.1]))["message"]
    assert "orders-storage-0 (96%), orders-storage-1 (97%), orders-storage-2 (98%)" in message
    assert "enlarge the claims" in message
    assert "read-only" in message


def test_a_disk_smaller_than_its_claim_is_the_limit_and_an_enlarged_claim_counts() -> None:
    facts = stored([0.5] * 6)
    said = StorageStatus(name="x", member="0", state=CURRENT, bytes_used=90, bytes_free=10)
    small = pod("orders-storage-0", Agent(status=said), component="storage")
    assert storage_used(Facts(cluster=facts.cluster, now=0.0, entropy="", objects={}, pods=(small,))) == "90%"
    assert storage_used(facts) == "50%"
    grown: dict[tuple[str, str], Any] = {
        key: claim | {"status": {"capacity": {"storage": "20Gi"}}} for key, claim in facts.objects.items()
    }
    larger = Facts(cluster=facts.cluster, now=0.0, entropy="", objects=grown, pods=facts.pods)
    assert storage_used(larger) == "25%"


def fill(stage: Stage, share: float, *indices: int) -> None:
    """Have members tell that they are so full, each of a disk of 1 TiB behind its claim of 10Gi."""
    for index in indices:
        uid = stage.pod(f"orders-storage-{index}")["metadata"]["uid"]
        said = stage.world.statuses[uid]
        assert isinstance(said, StorageStatus)
        stage.world.statuses[uid] = replace(said, bytes_used=int(share * SIZE), bytes_free=1 << 40)


async def test_a_volume_that_fills_up_is_told_step_by_step(running: Stage) -> None:
    seen = []
    for share in (0.5, 0.9, 0.96, 0.94, 0.5):
        fill(running, share, *range(6))
        await running.settle()
        seen.append(told(running)["StorageSpace"]["reason"])
    assert seen == ["Enough", "NearlyFull", "Full", "Full", "Enough"]
    events = [e for e in running.events() if e.startswith("Storage")]
    assert events == ["StorageNearlyFull", "StorageFull", "StorageSpaceEnough"]
    assert running.status["storageUsed"] == "50%"
    assert running.status["status"] == "available"
