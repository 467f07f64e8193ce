"""Decisions about the membership, as tables and as properties, and the JSON of a configuration with one that joins."""

import json
from dataclasses import replace
from typing import Any

import pytest
from borealis_engine.contract.status import StorageState, StorageStatus
from borealis_engine.contract.volume import Joining, Member, MemberId, VolumeConfig
from borealis_operator.api.cluster import parse_cluster
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.plan.copies import Copy, Fate
from borealis_operator.plan.healing import Begin, Complete, GiveUp, Stay, decide_joining, decide_replacement
from borealis_operator.plan.membership import is_far
from borealis_operator.plan.volume import make_config
from hypothesis import given
from hypothesis import strategies as st

from .test_operator_crds import CATALOGUE, manifest
from .test_operator_plans import node

DELAY = 300.0
GOOD, OPEN, AILING, FULL, LOST = Fate


def copy(number: int, fate: Fate = GOOD, **changes: Any) -> Copy:
    member = Member(id=MemberId(f"m{number}"), name=f"c-storage-{number}", zone="abc"[number % 3])
    state = changes.pop("state", StorageState.CURRENT if fate is GOOD else StorageState.FAILED)
    status = StorageStatus(name=member.name, member=member.id, state=state, generation=2, **changes.pop("told", {}))
    usual = {"good": fate is GOOD, "problem": "" if fate is GOOD else "ails", "node": f"n{number}", "waited": 0.0}
    usual |= {"state": state.value, "status": status}
    return Copy(member=member, fate=fate, **(usual | changes))


def six(**ailing: Copy) -> list[Copy]:
    return [ailing.get(f"c{number}", copy(number)) for number in range(6)]


WHOM: dict[str, tuple[list[Copy], str, str]] = {
    "all are good": (six(), "", ""),
    "lost": (six(c2=copy(2, LOST)), "c-storage-2", "c-storage-2 ails"),
    "lost, and serves until its pod ends": (six(c2=copy(2, LOST, good=True)), "c-storage-2", "c-storage-2 ails"),
    "ails for a moment": (six(c2=copy(2, AILING, waited=299.0)), "", ""),
    "ails for long": (six(c2=copy(2, AILING, waited=300.0)), "c-storage-2", "c-storage-2 ails"),
    "full": (six(c2=copy(2, FULL, waited=9e9)), "", ""),
    "catching up": (six(c2=copy(2, OPEN, waited=9e9)), "", ""),
    "lost before waited for": (
        six(c1=copy(1, AILING, waited=9e9), c2=copy(2, LOST)),
        "c-storage-2",
        "c-storage-2 ails",
    ),
    "the longest first": (
        six(c1=copy(1, AILING, waited=400.0), c2=copy(2, AILING, waited=500.0)),
        "c-storage-2",
        "c-storage-2 ails",
    ),
    "three lost": (
        six(c1=copy(1, LOST), c2=copy(2, LOST), c4=copy(4, LOST)),
        "",
        "it cannot be replaced while fewer than 4 others are current (3 are)",
    ),
    "three others gone, its own word does not count": (
        six(c1=copy(1, LOST, good=True), c2=copy(2, OPEN), c4=copy(4, OPEN)),
        "",
        "it cannot be replaced while fewer than 4 others are current (3 are)",
    ),
    "no room in its zone": (six(c3=copy(3, LOST)), "", "no Kubernetes node of zone a takes a new one"),
    "no room in one zone, and in another": (
        six(c3=copy(3, LOST), c4=copy(4, AILING, waited=400.0)),
        "c-storage-4",
        "c-storage-4 ails",
    ),
}


@pytest.mark.parametrize(("copies", "chosen", "reason"), WHOM.values(), ids=WHOM)
def test_who_is_replaced(copies: list[Copy], chosen: str, reason: str) -> None:
    decision = decide_replacement(copies, delay=DELAY, roomy={c.member.id for c in copies if c.member.zone != "a"})
    assert (decision.copy.member.name if isinstance(decision, Begin) else "") == chosen
    assert decision.reason == reason


@given(
    fates=st.lists(st.sampled_from(Fate), min_size=6, max_size=6),
    waits=st.lists(st.floats(0, 1000), min_size=6, max_size=6),
)
def test_a_replacement_never_costs_a_quorum(fates: list[Fate], waits: list[float]) -> None:
    copies = [copy(n, fate, waited=wait) for n, (fate, wait) in enumerate(zip(fates, waits, strict=True))]
    decision = decide_replacement(copies, delay=DELAY, roomy={c.member.id for c in copies})
    if isinstance(decision, Begin):
        assert sum(1 for c in copies if c.good and c is not decision.copy) >= 4
        assert decision.copy.fate in (LOST, AILING)
        assert decision.reason


BACK, GONE, GOING = copy(3), copy(3, AILING, waited=900.0), copy(3, LOST, good=True)
PULLING = copy(6, OPEN, state=StorageState.CATCHING_UP)
JOINING: dict[str, tuple[Copy, Copy, bool, type, str]] = {
    "it pulls": (GONE, PULLING, False, Stay, "c-storage-6 ails"),
    "it has all": (GONE, copy(6), True, Complete, "c-storage-6 is current"),
    "it has all, of an older generation": (
        GONE,
        replace(copy(6), status=StorageStatus(name="x", member="m6", state=StorageState.CURRENT, generation=1)),
        True,
        Stay,
        "c-storage-6 is current, and has yet to learn of its place",
    ),
    "both have all": (BACK, copy(6), True, Complete, "c-storage-6 is current"),
    "the old one is back": (BACK, PULLING, False, GiveUp, "c-storage-3 is current again"),
    "the old one is back too late": (BACK, PULLING, True, Stay, "c-storage-6 ails"),
    "the old one serves but its claim is going": (GOING, PULLING, False, Stay, "c-storage-6 ails"),
    "its claim is gone": (GONE, copy(6, LOST), False, GiveUp, "c-storage-6 ails"),
    "its claim is going although it has all": (GONE, copy(6, LOST, good=True), True, GiveUp, "c-storage-6 ails"),
    "its disk failed": (GONE, copy(6, AILING), True, GiveUp, "c-storage-6 ails"),
    "it is silent": (GONE, copy(6, AILING, state=StorageState.EMPTY, waited=299.0), True, Stay, "c-storage-6 ails"),
    "it is silent for long": (
        GONE,
        copy(6, AILING, state=StorageState.EMPTY, waited=300.0),
        True,
        GiveUp,
        "c-storage-6 ails",
    ),
    "it has never found a node": (
        GONE,
        copy(6, AILING, state=StorageState.EMPTY, waited=900.0, node=""),
        False,
        Stay,
        "c-storage-6 ails",
    ),
    "it is full": (GONE, copy(6, FULL, waited=900.0), True, Stay, "c-storage-6 ails"),
}


@pytest.mark.parametrize(("old", "new", "far", "what", "reason"), JOINING.values(), ids=JOINING)
def test_how_a_replacement_goes_on(old: Copy, new: Copy, far: bool, what: type, reason: str) -> None:
    decision = decide_joining(old, new, generation=2, delay=DELAY, far=far)
    assert (type(decision), decision.reason) == (what, reason)


@pytest.mark.parametrize(("held", "far"), [(0, False), (1400, False), (1501, True), (2000, True)])
def test_half_of_the_log_is_far(held: int, far: bool) -> None:
    peers = tuple(copy(n, told={"durable_lsn": 2000, "log_start": 1000}) for n in range(5))
    assert is_far(copy(6, OPEN, told={"flush_lsn": held}), peers) is far


def test_a_configuration_with_one_that_joins_survives_its_json() -> None:
    plain = make_config("c", "uid", [node(z) for z in "abc"], entropy="e")
    assert "joining" not in json.loads(plain.to_json())
    assert VolumeConfig.from_json(plain.to_json()) == plain
    member = Member(id=MemberId("0123456789abcdef"), name="c-storage-6", zone="b", address="10.0.0.7:7400")
    joins = replace(plain, joining=Joining(member=member, replaces=plain.members[4].id))
    assert json.loads(joins.to_json())["joining"] == {
        "id": "0123456789abcdef",
        "name": "c-storage-6",
        "zone": "b",
        "address": "10.0.0.7:7400",
        "replaces": plain.members[4].id,
    }
    assert VolumeConfig.from_json(joins.to_json()) == joins
    assert len(json.loads(joins.to_json())["members"]) == 6


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10.0), ("5m", 300.0), ("2h", 7200.0), (None, 300.0)])
def test_the_delay_as_users_write_it(text: str | None, seconds: float) -> None:
    storage = {"replacementDelay": text} if text else {}
    assert parse_cluster(manifest({"storage": storage}), CATALOGUE).spec.storage.replacement_delay_s == seconds


@pytest.mark.parametrize("text", ["0s", "5", "1m30s", "-5m", "5 m", "123456s"])
def test_a_delay_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"spec\.storage\.replacementDelay"):
        parse_cluster(manifest({"storage": {"replacementDelay": text}}), CATALOGUE)
