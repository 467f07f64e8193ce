"""`make demo`: from nothing to a failover, with the commands that a user would type, each shown as it runs.

The last line of stdout is `demo: ok failover=<seconds> acked=<n> lost=0 readers=<n>`; anything else is a failure with a
non-zero exit. Nothing is left running unless it is asked for.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from borealis_engine.postgres.binaries import find_binaries

from borealis_local.state import ENV_STATE, default_directory

READERS = 2
BEFORE_S = 3.0  # load before the kill
AFTER_S = 3.0  # load after commits go on
FAILOVER_LIMIT_S = 60.0


class DemoFailed(Exception):
    """A step did not do what it should have; the message says which."""


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster running and say how to connect")
    keep = parser.parse_args().keep
    try:
        line = _demo()
    except DemoFailed as failure:
        print(f"demo: failed: {failure}", file=sys.stderr)
        line = ""
    if keep and line:
        _run("borealis", "local", "status")
        print(f"\nThe cluster keeps running. First: export {ENV_STATE}={shlex.quote(_state())}")
        print("then `borealis local psql` connects, and `borealis local down --purge` removes it all.")
    else:
        _run("borealis", "local", "down", "--purge", check=False)
    if not line:
        raise SystemExit(1)
    print(line)


def _demo() -> str:
    _run("borealis", "local", "up")
    _run("borealis", "local", "status")
    url = _output("borealis", "local", "uri")
    _pgbench(url)
    with tempfile.TemporaryDirectory() as scratch:
        book = Path(scratch, "ledger.jsonl")
        _load_and_kill(url, book)
        checked = json.loads(_output("borealis", "ledger", "check", "--url", url, "--book", str(book), "--json"))
    readers = _await_readers()
    _run("borealis", "local", "status")
    if checked["lost"] or checked["doubled"]:
        raise DemoFailed(f"the ledger found {checked['lost']} lost and {checked['doubled']} doubled rows")
    return f"demo: ok failover={checked['longest_gap']:.1f} acked={checked['acked']} lost=0 readers={readers}"


def _pgbench(url: str) -> None:
    pgbench = find_binaries(os.environ).path("pgbench")
    _run(pgbench, "--initialize", "--quiet", "--scale", "1", url)
    _run(pgbench, "--client", "4", "--time", "5", "--progress", "1", url)


def _load_and_kill(url: str, book: Path) -> None:
    ledger = _start("borealis", "ledger", "run", "--url", url, "--book", str(book), "--clients", "4")
    try:
        _await_acks(book, 1, since=0.0)
        time.sleep(BEFORE_S)
        killed = time.time()
        _run("borealis", "local", "kill", "writer")
        _await_acks(book, 1, since=killed + 0.2)
        time.sleep(AFTER_S)
    finally:
        ledger.terminate()
        ledger.wait(timeout=30)


def _await_acks(book: Path, count: int, *, since: float) -> None:
    deadline = time.monotonic() + FAILOVER_LIMIT_S
    while time.monotonic() < deadline:
        if book.exists() and sum(_acked_after(line, since) for line in book.read_text().splitlines()) >= count:
            return
        time.sleep(0.1)
    raise DemoFailed(f"no commit was acknowledged for {FAILOVER_LIMIT_S:.0f} s")


def _acked_after(line: str, since: float) -> bool:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:  # the line is being written
        return False
    return bool(entry.get("outcome") == "acked" and entry["end"] > since)


def _await_readers() -> int:
    deadline = time.monotonic() + FAILOVER_LIMIT_S
    while time.monotonic() < deadline:
        cluster = json.loads(_output("borealis", "local", "get", "dbcluster", "quickstart", "-o", "json", quiet=True))
        if (ready := cluster["status"].get("readers", 0)) >= READERS:
            return int(ready)
        time.sleep(0.5)
    raise DemoFailed(f"{READERS} readers were not ready again within {FAILOVER_LIMIT_S:.0f} s")


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, ENV_STATE: _state()}


def _state() -> str:
    """Give a state directory of the demo's own: the end of the demo deletes it."""
    return os.environ.get(ENV_STATE) or f"{default_directory(os.environ, root=os.geteuid() == 0)}-demo"


def _show(command: tuple[str, ...]) -> None:
    words = [Path(command[0]).name, *(_without_password(word) for word in command[1:])]
    print(f"\n$ {shlex.join(words)}", flush=True)


def _without_password(word: str) -> str:
    return re.sub(r"(://[^:/@]+):[^@]+@", r"\1:***@", word)


def _run(*command: str, check: bool = True) -> None:
    _show(command)
    done = subprocess.run(command, env=_environment(), check=False)
    if check and done.returncode:
        raise DemoFailed(f"{Path(command[0]).name} ended with exit code {done.returncode}")


def _output(*command: str, quiet: bool = False) -> str:
    if not quiet:
        _show(command)
    done = subprocess.run(command, env=_environment(), check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode and not done.stdout:
        raise DemoFailed(f"{Path(command[0]).name} ended with exit code {done.returncode}")
    return done.stdout.strip()


def _start(*command: str) -> "subprocess.Popen[bytes]":
    _show(command)
    return subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
