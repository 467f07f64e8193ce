"""A process that appends is killed again and again: what it said to be durable is there, byte for byte."""

import random
import subprocess
import sys
from pathlib import Path

from borealis_engine.contract.volume import Lsn
from borealis_engine.store.disk import RealDisk
from borealis_engine.store.member import open_store

from . import appender

KILLS = 30


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


def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chance, acked = random.Random(1), 0
    for _ in range(KILLS):
        acked = max(acked, run_and_kill(tmp_path, chance.randint(1, 40)))
    assert acked > appender.START
    store = open_store(RealDisk(tmp_path), member="m", cluster_uid="c", allow_format=False, sizes=appender.SIZES)
    journal, at = store.journal, appender.START
    assert journal.state.flush >= acked
    while at < journal.state.flush:
        data = journal.read(at, journal.state.flush)
        assert data == appender.content(at, len(data))
        at = Lsn(at + len(data))
    journal.close()
