"""When a node may say that it is current: what the operator believes before it makes a joiner a member."""

from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core import messages as m

from .harness import LEASE, SECOND, Harness, begin


def test_current_is_what_the_reign_has_shown(member: Harness) -> None:
    member.ask(member.append(2, 1100, durable=1100))
    assert not member.node.catching_up
    member.boot(member.node.durable)
    assert member.node.catching_up, "a restarted node cannot know what it missed"
    member.ask(member.append(2, 1100, b"x", durable=1100))
    assert not member.node.catching_up
    member.now += LEASE
    assert member.promise(3, "b").granted
    assert member.node.catching_up, "the reign that goes on without this node says nothing to it"
    member.ask(m.Resign(epoch=Epoch(3), owner="b", void=True))
    assert member.node.catching_up
    member.ask(member.append(2, 1101, durable=1101))
    assert not member.node.catching_up


def test_a_heartbeat_without_the_entry_shows_nothing() -> None:
    harness = Harness()
    harness.promise(2)
    harness.ask(harness.append(2, 0))
    assert harness.node.catching_up


def test_a_member_that_comes_up_to_d_under_steady_data_is_in_step(member: Harness) -> None:
    member.ask(member.append(2, 1150, durable=1150))
    assert member.node.catching_up
    member.ask(member.append(2, 1100, b"x" * 40, durable=1150))
    assert member.node.catching_up
    member.ask(member.append(2, 1140, b"x" * 20, durable=1150))
    assert not member.node.catching_up


def test_a_member_is_in_step_once_what_shows_it_is_durable(member: Harness) -> None:
    """The operator makes a joiner a member that says so: what is only queued, a crash would take back (seed 879)."""
    member.ask(member.append(2, 1150, durable=1150))
    member.give(member.append(2, 1100, b"x" * 50, durable=1150))
    assert member.node.catching_up
    member.give(member.append(2, 1150, b"x" * 50, durable=1180))
    member.sync()
    assert not member.node.catching_up, "D moves on before a slow disk does: not a reason to be out of step again"


def test_a_member_is_in_step_once_the_entry_is_durable(member: Harness) -> None:
    member.now += LEASE
    member.promise(3, "b")
    member.give(begin((*SECOND, m.Reign(epoch=Epoch(3), start=Lsn(1100)))))
    member.give(member.append(3, 1100))
    assert member.node.catching_up
    member.sync()
    assert not member.node.catching_up
