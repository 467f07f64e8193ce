"""Decisions, as tables and as properties: placement, succession, replacement, membership, endpoints."""

from collections import Counter
from typing import Any

import pytest
from borealis_engine.contract.status import InstanceStatus, Role, StorageState, StorageStatus
from borealis_operator.api.instance import Instance
from borealis_operator.plan.endpoints import Endpoint, decide_reader_endpoint, decide_writer_endpoint
from borealis_operator.plan.facts import Agent, Asked, Node, Pod
from borealis_operator.plan.failover import Hold, Promote, decide_promotion
from borealis_operator.plan.instances import plan_instances
from borealis_operator.plan.placement import STAND_INS, choose_instance_zone, choose_volume_zones
from borealis_operator.plan.status import decide_phase, status_patch
from borealis_operator.plan.volume import FORMATTED, advance_config, make_config
from borealis_operator.render.objects import holds
from hypothesis import given
from hypothesis import strategies as st


def node(zone: str, number: int = 0, **changes: Any) -> Node:
    usual = {"name": f"{zone}{number}", "hostname": f"{zone}{number}.local", "zone": zone}
    return Node(**(usual | {"ready": True, "schedulable": True} | changes))


def pod(name: str = "i1-aaaaa", agent: Agent | None = None, **changes: Any) -> Pod:
    usual = {"name": name, "uid": name, "component": "instance", "instance": name.partition("-")[0], "node": "a0"}
    usual |= {"zone": "a", "ip": "10.0.0.1", "phase": "Running", "role": ""}
    state = {"terminating": False, "unschedulable": False, "created": 0.0}
    return Pod(**(usual | state | changes), agent=agent or Agent())


def says(role: Role, **changes: Any) -> Agent:
    told = {k: changes.pop(k) for k in ("suspect", "refused", "silent_for", "role_for") if k in changes}
    return Agent(status=InstanceStatus(name="x", role=role, **changes), **told)


def instance(name: str, **changes: Any) -> Instance:
    usual = {
        "uid": name,
        "cluster": "c",
        "tier": 1,
        "generated": True,
        "owned": True,
        "owners": (),
        "version": "1",
        "created": 0.0,
    }
    return Instance(name=name, **(usual | {"deleting": False, "status": {}} | changes))


ZONES = {
    "three": ([node("a"), node("b"), node("c")], "abcabc"),
    "best equipped": ([node("a"), node("b"), node("c"), node("d", 1), node("d", 2)], "abdabd"),
    "cordoned": ([node("a", schedulable=False), node("b"), node("c"), node("d")], "bcdbcd"),
    "dead": ([node("a", ready=False), node("b"), node("c"), node("d")], "bcdbcd"),
}


@pytest.mark.parametrize(("nodes", "zones"), ZONES.values(), ids=ZONES)
def test_zones_of_a_volume(nodes: list[Node], zones: str) -> None:
    assert "".join(choose_volume_zones(nodes)) == zones


@given(st.lists(st.sampled_from("abcdef"), max_size=12))
def test_two_members_in_each_of_three_zones_or_stand_ins(zones: list[str]) -> None:
    chosen = Counter(choose_volume_zones([node(zone, number) for number, zone in enumerate(zones)]))
    assert set(chosen.values()) == {2}
    assert len(chosen) == 3
    assert (set(chosen) == set(STAND_INS)) == (len(set(zones)) < 3)


@given(st.integers(1, 16))
def test_instances_spread_within_one(count: int) -> None:
    taken: list[str] = []
    for _ in range(count):
        taken.append(choose_instance_zone("abc", [node(z) for z in "abc"], taken, writer_zone="a"))
    spread = Counter(taken)
    assert max(spread.values()) - min(spread.get(z, 0) for z in "abc") <= 1
    assert taken[0] != "a"


R, P, S, A = Role.READER, Role.PROMOTING, Role.STARTING, Role.ATTACHING
SUCCESSION: dict[str, tuple[dict[str, Agent], str]] = {
    "nobody": ({}, ""),
    "most replay": ({"i1": says(R, replay_lsn=5), "i2": says(R, replay_lsn=9)}, "i2"),
    "lowest tier first": ({"i0": says(R, replay_lsn=1), "i2": says(R, replay_lsn=9)}, "i0"),
    "suspects are passed over": ({"i0": says(R, suspect=True), "i2": says(R)}, "i2"),
    "one under way": ({"i1": says(P, role_for=3.0), "i2": says(R)}, ""),
    "one that takes too long": ({"i1": says(P, role_for=21.0), "i2": says(R)}, "i2"),
    "first of an empty volume": ({"i1": says(S), "i2": says(S)}, "i1"),
    "not while one attaches": ({"i1": says(S), "i2": says(A)}, ""),
    "reader although one attaches": ({"i1": says(A), "i2": says(R)}, "i2"),
}


@pytest.mark.parametrize(("agents", "chosen"), SUCCESSION.values(), ids=SUCCESSION)
def test_succession(agents: dict[str, Agent], chosen: str) -> None:
    pods = [pod(f"{name}-aaaaa", agent) for name, agent in agents.items()]
    decision = decide_promotion(pods, {"i0": 0, "i1": 1, "i2": 1}, asked=None)
    assert (decision.pod.instance if isinstance(decision, Promote) else "") == chosen
    assert decision.reason


def test_whoever_was_asked_is_not_overtaken_at_once() -> None:
    pods = [pod("i1-a", says(R, replay_lsn=5)), pod("i2-b", says(R, replay_lsn=9))]
    tiers = {"i1": 1, "i2": 1}
    assert isinstance(decide_promotion(pods, tiers, asked=Asked(pod="i1-a", ago=0.5)), Hold)
    again = decide_promotion(pods, tiers, asked=Asked(pod="i1-a", ago=2.0))
    later = decide_promotion(pods, tiers, asked=Asked(pod="i1-a", ago=4.0))
    assert isinstance(again, Promote)
    assert again.pod.name == "i1-a"
    assert isinstance(later, Promote)
    assert later.pod.name == "i2-b"


@given(
    readers=st.integers(0, 15),
    tiers=st.lists(st.integers(0, 15), max_size=16),
    added=st.integers(0, 15),
    writer=st.integers(0, 15),
)
def test_the_set_of_instances(readers: int, tiers: list[int], added: int, writer: int) -> None:
    own = [instance(f"c-instance-{n}", tier=tier) for n, tier in enumerate(tiers, 1)]
    users = [instance(f"mine-{n}", generated=False) for n in range(added)]
    name = own[writer % len(own)].name if own else ""
    plan = plan_instances("c", readers, own + users, writer=name)
    assert not (plan.create and plan.delete)
    assert len(set(plan.create) | {i.name for i in own}) == len(plan.create) + len(own)
    assert name not in {i.name for i in plan.delete}
    left = len(own) + len(plan.create) - len(plan.delete)
    if name or not own:
        assert left == min(readers, 15 - added) + 1
        kept = [i.tier for i in own if i not in plan.delete and i.name != name]
        assert not plan.delete or not kept or max(kept) <= min(i.tier for i in plan.delete)


def test_whoever_was_asked_in_vain_lets_the_others_try() -> None:
    pods = [pod("i0-a", says(R, replay_lsn=9)), pod("i1-b", says(R, replay_lsn=5))]
    chosen = {}
    for ago in (2.0, 10.0, 600.0):
        decision = decide_promotion(pods, {"i0": 0, "i1": 1}, asked=Asked(pod="i0-a", ago=ago))
        assert isinstance(decision, Promote)
        chosen[ago] = decision.pod.name
    assert chosen == {2.0: "i0-a", 10.0: "i1-b", 600.0: "i0-a"}
    alone = decide_promotion(pods[:1], {"i0": 0}, asked=Asked(pod="i0-a", ago=10.0))
    assert isinstance(alone, Promote)


def storage_pod(index: int, state: StorageState, member: str, ip: str = "10.0.1.1") -> Pod:
    status = StorageStatus(name=f"c-storage-{index}", member=member, state=state)
    return pod(f"c-storage-{index}", Agent(status=status), component="storage", ip=ip)


@given(st.lists(st.sampled_from(StorageState), min_size=6, max_size=6))
def test_sealed_only_when_all_six_are_formatted(states: list[StorageState]) -> None:
    config = make_config("c", "uid", [node(z) for z in "abc"], entropy="e")
    pods = [storage_pod(n, state, str(config.members[n].id)) for n, state in enumerate(states)]
    sealed = advance_config(config, pods)
    assert sealed.sealed == all(s in FORMATTED for s in states)
    assert sealed.version > config.version or sealed == config
    assert not advance_config(config, pods[:5]).sealed


def test_only_a_moved_address_makes_a_new_revision() -> None:
    config = make_config("c", "uid", [node(z) for z in "abc"], entropy="e")
    pods = [storage_pod(n, StorageState.CURRENT, str(m.id)) for n, m in enumerate(config.members)]
    sealed = advance_config(config, pods)
    assert advance_config(sealed, pods) == sealed
    moved = advance_config(sealed, [*pods[:5], storage_pod(5, StorageState.CURRENT, "x", ip="10.0.1.9")])
    assert (moved.generation, moved.revision) == (sealed.generation, sealed.revision + 1)
    assert moved.members[5].address == "10.0.1.9:7400"
    assert advance_config(moved, []) == moved


@given(
    live=st.none() | st.builds(Endpoint, addresses=st.just(("10.9.9.9",)), epoch=st.integers(0, 9)),
    epochs=st.lists(st.integers(2, 9), max_size=4),
)
def test_endpoints_never_go_backwards(live: Endpoint | None, epochs: list[int]) -> None:
    pods = [pod(f"i{n}-a", says(Role.WRITER, ready=True, epoch=e), ip=f"10.0.0.{n}") for n, e in enumerate(epochs)]
    writer = max(pods, key=lambda p: p.instance_status.epoch if p.instance_status else 0, default=None)
    after = decide_writer_endpoint(live, writer, pods)
    assert after.epoch >= (live.epoch if live else 0)
    assert len(after.addresses) <= 1
    if live and epochs and max(epochs) < live.epoch:
        assert after == live
        assert decide_reader_endpoint(live, after, pods) == live
    if epochs and max(epochs) >= (live.epoch if live else 0):
        assert writer
        assert after.addresses == (writer.ip,)


def test_a_silent_writer_keeps_its_address_until_a_higher_epoch_comes() -> None:
    live = Endpoint(addresses=("10.0.0.1",), epoch=2)
    silent = pod("i1-a", says(Role.WRITER, ready=True, epoch=2, suspect=True), ip="10.0.0.1")
    reader = pod("i2-a", says(R, ready=True, epoch=2), ip="10.0.0.2")
    assert decide_writer_endpoint(live, None, [silent, reader]) == live
    assert decide_writer_endpoint(live, None, [reader]).addresses == ()
    fallen = pod("i1-a", says(A), ip="10.0.0.1")
    assert decide_writer_endpoint(live, None, [fallen, reader]).addresses == ()


PHASES = {
    "new": ("", 0, None, False, "creating"),
    "elected, not set up": ("creating", 0, says(Role.WRITER, ready=True), False, "creating"),
    "set up": ("creating", 2, says(Role.WRITER, ready=True), True, "available"),
    "lost": ("available", 2, None, False, "failing-over"),
    "succeeded": ("failing-over", 2, says(Role.WRITER, ready=True), False, "available"),
}


@pytest.mark.parametrize(("before", "epoch", "agent", "database", "after"), PHASES.values(), ids=PHASES)
def test_phases(before: str, epoch: int, agent: Agent | None, database: bool, after: str) -> None:
    writer = pod(agent=agent) if agent else None
    assert decide_phase(before, epoch, writer, database_set=database) == after


def test_a_moving_log_alone_is_written_once_a_minute() -> None:
    before = {"status": "available", "durableLsn": "0/1", "lsnTime": "2026-01-01T00:00:00Z"}
    after = before | {"durableLsn": "0/2", "lsnTime": "2026-01-01T00:00:59Z"}
    start = 1767225600.0
    assert status_patch(before, after, now=start + 59) == {}
    assert status_patch(before, after, now=start + 60)["durableLsn"] == "0/2"
    assert status_patch(before, after | {"status": "failing-over"}, now=start + 1)["durableLsn"] == "0/2"


HOLDS = [
    ({"a": 1, "b": 2}, {"a": 1}, True),
    ({"a": 1}, {"a": 1, "b": 2}, False),
    ({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True),
    ({"a": [1, 2]}, {"a": [1]}, False),
    ({"a": None}, {"a": []}, True),
]


@pytest.mark.parametrize(("live", "wanted", "answer"), HOLDS)
def test_what_is_there_already_is_not_applied(live: Any, wanted: Any, answer: bool) -> None:
    assert holds(live, wanted) is answer
