"""An operator that loses the Lease ends its work at once and stands by again, as the same process."""

import os
import subprocess
import sys

LIVES = """
import asyncio, os
from borealis_operator.main import command

async def lose():
    raise RuntimeError("somebody else holds it")

async def main():
    keeper = asyncio.create_task(lose())
    keeper.add_done_callback(command._start_over)
    await asyncio.sleep(30)

print(os.getpid(), flush=True)
if os.environ.get("LIVED"):
    raise SystemExit(0)
os.environ["LIVED"] = "once"
asyncio.run(main())
"""


def test_a_lost_lease_starts_the_same_process_over() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIVES],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ) | {"LIVED": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split()
    assert first == second
