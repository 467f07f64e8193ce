"""What a fresh database is like to those who know a stock one: initdb's choices hold unless there is a reason."""

import os
import re
from pathlib import Path
from typing import Final

import pytest
from borealis_engine.postgres.account import choose_account, make_private
from borealis_engine.postgres.binaries import Binaries
from borealis_engine.postgres.image import Image, run_initdb
from borealis_engine.postgres.sql import session
from borealis_engine.postgres.testing.primary import primary

pytestmark = pytest.mark.postgres
REASONS: Final = {
    "max_connections": "the same on every instance, whatever its size",
    "shared_buffers": "by the memory of the instance class",
    "autovacuum_worker_slots": "by max_connections",
    "dynamic_shared_memory_type": "in the directory: nothing is left in /dev/shm, nor bound by its size",
    "max_wal_size": "initdb takes 64 segments, and ours are small: what PostgreSQL has with its own is kept",
    "min_wal_size": "the same",
    "lc_messages": "the agent reads the log",
}


async def test_what_initdb_chose_is_kept_unless_borealis_has_a_reason(
    binaries: Binaries, image: Image, folder: Path
) -> None:
    account = choose_account()
    make_private(folder / "stock", account)
    run_initdb(binaries, folder / "stock" / "data", account)
    text = (folder / "stock" / "data" / "postgresql.conf").read_text()
    chosen = dict(re.findall(r"^(\w+) = '?([^'#\t\n]*?)'?\s*(?:#.*)?$", text, re.M))
    assert len(chosen) > 8
    async with primary(binaries, image, folder, port=20_000 + os.getpid() % 20_000) as door, session(door) as client:
        for name, value in chosen.items():
            if name in REASONS:
                continue
            # The agent's session has a form of dates of its own; the file's is the one that clients get.
            in_file = "select setting from pg_file_settings where lower(name) = lower(%s) and applied"
            given = await (await client.execute(in_file, (name,))).fetchone()
            assert given == (value,), name
        row = await (await client.execute("select to_tsvector('running') @@ to_tsquery('run')")).fetchone()
        assert row == (True,)
