"""The scanner against PostgreSQL's own WAL, with pg_waldump as the oracle of where records are."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from borealis_engine.contract.volume import Epoch, Lsn, parse_lsn
from borealis_engine.postgres.attached import Attached
from borealis_engine.postgres.image import segment_name
from borealis_engine.postgres.logwriter import LogWriter
from borealis_engine.postgres.promotion import catch_up, promote
from borealis_engine.postgres.sql import session
from borealis_engine.postgres.testing import MemorySink, MemoryVolume
from borealis_engine.proto.wal import PAGE, RecordScanner, records

pytestmark = pytest.mark.postgres
_LINE = re.compile(r"len \(rec/tot\):\s*\d+/\s*(\d+), .* lsn: ([0-9A-F]+/[0-9A-F]+)")
WORK = (
    "create table t(i int, s text)",
    "insert into t select i, repeat('x', i % 3000) from generate_series(1, 3000) i",
    "select pg_switch_wal()",
    "select pg_logical_emit_message(false, 'a', repeat('y', 100000))",
    "select pg_logical_emit_message(false, 'a', repeat('z', 9000000))",
    "update t set i = i + 1",
    "select pg_switch_wal()",
    "vacuum t",
)


async def test_scanner_and_pg_waldump_agree(attach: Callable[[int], Attached], volume: MemoryVolume) -> None:
    instance = attach(1)
    await instance.start(lambda line: None)
    start, sink = volume.end, MemorySink(volume)
    volume.begin(Epoch(2), start)
    await catch_up(instance, start)
    await promote(instance, Epoch(2), start)
    sink.writer = await LogWriter.connect(instance.site.door, sink, start=start, timeline=Epoch(2))
    async with session(replace(instance.site.door, plain=True)) as connection:
        for statement in WORK:
            await connection.execute(statement.encode())
    await instance.halt()
    segment = instance.image.head.description.segment_size
    shown = waldump(instance, start, volume.end, segment)
    log, base = bytes(volume.log), volume.start
    seen = list(records(log, base, start, segment))
    assert [record.start for record in seen] == [lsn for lsn, _ in shown]
    for one, following in pairwise(seen):
        header = 40 if one.end % segment == 0 else 24 if one.end % PAGE == 0 else 0
        assert following.start == one.end + header
    scanner, ends = RecordScanner(base, segment), {record.end for record in seen}
    step = 7919
    for at in range(0, len(log), step):
        end = scanner.receive_data(log[at : at + step])
        assert end in ends or end <= start or end % PAGE == 0 or not any(log[end - base - 8 : end - base])
    assert scanner.end == min(seen[-1].end, volume.end)  # zeros after a switch may have been on their way


def waldump(instance: Attached, start: Lsn, end: Lsn, segment: int) -> list[tuple[Lsn, int]]:
    """Give (start, length) of every record on timeline 2."""
    first = segment_name(2, start, segment)
    command = [
        instance.site.binaries.path("pg_waldump"), "-p", str(instance.data / "pg_wal"), "-t", "2",
        "-s", f"{start >> 32:X}/{start & 0xFFFFFFFF:X}", "-e", f"{end >> 32:X}/{end & 0xFFFFFFFF:X}", first,
    ]  # fmt: skip
    done = subprocess.run(command[:-1], capture_output=True, text=True, check=False, timeout=60)
    found = [(parse_lsn(match[2]), int(match[1])) for match in _LINE.finditer(done.stdout)]
    assert found, done.stderr
    return found
