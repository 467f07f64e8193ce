"""Which configurations are adopted from whom: well-formed ones, that may follow or that two peers have said (018)."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from borealis_engine.contract.volume import Epoch, Generation, Joining, Member, MemberId, VolumeConfig, malformation
from borealis_engine.core import messages as m
from borealis_engine.core.effects import Adopt, ConfigLearned
from borealis_engine.core.standing import Hearsay, is_news, is_next, news

from .harness import Harness as NodeHarness
from .test_core_writer import CONFIG, Harness

NEW = Member(id=MemberId("m6"), name="m6", zone="z")
JOINT = replace(CONFIG, generation=Generation(2), joining=Joining(member=NEW, replaces=MemberId("m0")))
SWAPPED = replace(CONFIG, generation=Generation(3), members=(NEW, *CONFIG.members[1:]))
UNSEALED = replace(CONFIG, generation=Generation(0), revision=0, sealed=False)
FAR = replace(CONFIG, generation=Generation(6))  # what a flipped bit made of 2


def first(config: VolumeConfig, **changes: object) -> VolumeConfig:
    return replace(config, members=(replace(config.members[0], **changes), *config.members[1:]))  # type: ignore[arg-type]


MALFORMED: dict[str, Callable[[VolumeConfig], VolumeConfig]] = {
    "five": lambda c: replace(c, members=c.members[1:]),
    "none": lambda c: replace(c, members=()),
    "twice": lambda c: first(c, id=c.members[1].id),
    "name twice": lambda c: first(c, name=c.members[1].name),
    "long id": lambda c: first(c, id="x" * 17),
    "no id": lambda c: first(c, id=""),
    "no address": lambda c: first(c, address="a b"),
    "not ascii": lambda c: first(c, name="n\x00"),
    "not sealed": lambda c: replace(c, sealed=False),
    "negative": lambda c: replace(c, revision=-1),
    "joins itself": lambda c: replace(c, joining=Joining(member=c.members[0], replaces=c.members[1].id)),
    "replaces nobody": lambda c: replace(c, joining=Joining(member=NEW, replaces=MemberId("m9"))),
}


@pytest.mark.parametrize("harm", MALFORMED)
def test_a_malformed_configuration_is_no_news_from_anybody(harm: str) -> None:
    assert not malformation(CONFIG)
    harmed = MALFORMED[harm](replace(CONFIG, revision=9))
    assert malformation(harmed)
    assert not is_news(harmed, CONFIG)
    harness = Harness()
    harness.writer.configure(harmed)
    assert harness.writer.config == CONFIG


@pytest.mark.parametrize(
    ("known", "offered", "follows"),
    [
        pytest.param(CONFIG, first(replace(CONFIG, revision=7), address="10.0.0.9:7400"), True, id="addresses"),
        pytest.param(CONFIG, first(replace(CONFIG, revision=7), id="m9"), False, id="another member"),
        pytest.param(UNSEALED, CONFIG, True, id="sealed"),
        pytest.param(UNSEALED, first(CONFIG, id="m9"), False, id="sealed with others"),
        pytest.param(CONFIG, JOINT, True, id="joint"),
        pytest.param(CONFIG, replace(CONFIG, generation=Generation(2)), False, id="a step that changes nothing"),
        pytest.param(CONFIG, replace(SWAPPED, generation=Generation(2)), False, id="swapped at once"),
        pytest.param(JOINT, SWAPPED, True, id="completed"),
        pytest.param(JOINT, replace(CONFIG, generation=Generation(3)), True, id="given up"),
        pytest.param(
            JOINT, replace(first(CONFIG, id="m9"), generation=Generation(3)), False, id="completed by another"
        ),
        pytest.param(JOINT, replace(JOINT, generation=Generation(3)), False, id="joint again"),
        pytest.param(CONFIG, SWAPPED, False, id="two steps"),
        pytest.param(CONFIG, FAR, False, id="many steps"),
    ],
)
def test_what_may_follow(known: VolumeConfig, offered: VolumeConfig, *, follows: bool) -> None:
    assert is_next(offered, known) is follows


def test_what_does_not_follow_is_believed_when_two_say_it() -> None:
    hearsay = Hearsay()
    assert not hearsay.believe(FAR, CONFIG, "m0")
    assert not hearsay.believe(FAR, CONFIG, "m0"), "the same one again"
    assert not hearsay.believe(SWAPPED, CONFIG, "m1")
    assert hearsay.believe(first(replace(SWAPPED, revision=9), address="a:1"), CONFIG, "m2"), "addresses apart"


def test_one_damaged_member_does_not_infect_the_writer() -> None:
    harness = Harness()
    for _ in range(3):
        assert not [e for e in harness.hear(0, news(FAR)) if isinstance(e, ConfigLearned)]
    assert harness.writer.config == CONFIG
    assert [e for e in harness.hear(1, news(FAR)) if isinstance(e, ConfigLearned)], "two of them are believed"


def test_a_member_takes_nothing_malformed_from_a_writer() -> None:
    harness = NodeHarness()
    config = replace(harness.node.config, generation=Generation(4))
    bad = m.Refused(reason=m.Reason.CONFIG, promised=Epoch(0), generation=Generation(4), message="", config="")
    for offered in (MALFORMED["five"](config), MALFORMED["twice"](config)):
        assert not [e for e in harness.give(replace(bad, config=offered.to_json())) if isinstance(e, Adopt)]
