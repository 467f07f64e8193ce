"""A process that appends is killed again and again: what it said to be durable is there, byte for byte."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from borealis_engine.contract.volume import Lsn
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.member import open_store

from . import appender


def run_and_kill(root: Path, acks: int) -> int:
    """Let the process append for so many acks, kill it, and give the last ack it wrote."""
    command = [sys.executable, appender.__file__, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acks)]
        assert lines[-1], "the process ended by itself"
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)
    return int([line for line in lines if line.endswith(b"\n")][-1])


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
    chance, held = random.Random(kills), appender.START
    for _ in range(kills):
        acked = run_and_kill(tmp_path, chance.randint(1, 40))
        assert acked > held
        held = held_up_to(tmp_path, held)
        assert held >= acked
    assert held_up_to(tmp_path, appender.START) == held
