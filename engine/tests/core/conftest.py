"""A storage node's state machine for the tests of its rules."""

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core import messages as m
from borealis_engine.core.effects import LoadImage

from .harness import SECOND, Harness, begin, sent


@pytest.fixture
def member() -> Harness:
    """A node that holds the entry of epoch 2, which begins at 1100."""
    harness = Harness()
    assert harness.promise(2).granted
    [load] = [e for e in harness.give(begin(SECOND)) if isinstance(e, LoadImage)]
    assert (load.start, load.upto) == (1000, 1100)
    harness.node.pulled(load.token, Lsn(1000), bytes(100), harness.now)
    answers = sent(harness.drain() + harness.sync())
    assert answers == [m.Begun(epoch=Epoch(2), flush=Lsn(1100))]
    return harness
