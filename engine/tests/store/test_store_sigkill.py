"""A process that appends is killed again and again: what it said to be durable is there, byte for byte."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.net.testing.program import Program
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.member import open_store

from . import appender

DEADLINE_S = 30.0


def run_and_kill(root: Path, said: Path, acks: int) -> int:
    """Let the process append for so many acks, kill it, and give the last ack it wrote."""
    said.unlink(missing_ok=True)
    process = Program(f"{appender.__file__}:main", str(root), environment=os.environ, output=said)
    until = time.monotonic() + DEADLINE_S
    while len(acked_in(said)) < acks:
        assert process.returncode is None, "the process ended by itself"
        assert time.monotonic() < until, f"no {acks} acks within {DEADLINE_S} s"
        time.sleep(0.001)
    process.kill()
    assert process.join() == -signal.SIGKILL
    return acked_in(said)[-1]


def acked_in(said: Path) -> list[int]:
    """Give the acks that were written whole."""
    whole, _, _ = (said.read_bytes() if said.exists() else b"").rpartition(b"\n")
    return [int(line) for line in whole.splitlines()]


def held_up_to(root: Path, start: Lsn) -> Lsn:
    """Open the disk as a restart does, compare every byte from `start` on, and give the end of the log."""
    store = open_store(RealDisk(root), member="m", cluster_uid="c", allow_format=False, sizes=appender.SIZES)
    journal, at = store.journal, start
    while at < journal.state.flush:
        data = journal.read(at, journal.state.flush)
        assert data == appender.content(at, len(data))
        at = Lsn(at + len(data))
    journal.close()
    return at


@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path, kills: int) -> None:
    chance, held, root = random.Random(kills), appender.START, tmp_path / "disk"
    root.mkdir()
    for _ in range(kills):
        acked = run_and_kill(root, tmp_path / "said", chance.randint(1, 40))
        assert acked > held
        held = held_up_to(root, held)
        assert held >= acked
    assert held_up_to(root, appender.START) == held
