"""Start and end of the supervisor process."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from borealis_local.cli.client import Client
from borealis_local.engines import engine_majors, explain_missing
from borealis_local.errors import CommandError
from borealis_local.state import State, read_identity

NO_POSTGRES = (
    "no PostgreSQL server programs (15 to 17) found: install them (`apt-get install postgresql`), "
    "or set PG_BIN to the directory that holds postgres and initdb"
)
START_S, STOP_S, POLL_S = 30.0, 40.0, 0.05


_children: "dict[int, subprocess.Popen[bytes]]" = {}  # supervisors that this very process started, to be collected


def running(state: State) -> int | None:
    """Give the process id of the supervisor of a state, or None if none holds its lock."""
    try:
        descriptor = os.open(state.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        told = os.pread(descriptor, 32, 0).decode().strip()
        return int(told) if told.isdigit() else 0
    finally:
        os.close(descriptor)


def start(state: State, *, operator: bool) -> Client:
    """Start the supervisor unless it runs; give a client once it answers. CommandError names its log if it does not."""
    state.prepare()
    child = None
    if running(state) is None:
        if operator and not engine_majors(os.environ):
            raise CommandError(explain_missing(os.environ) or NO_POSTGRES)
        child = _spawn(state, operator=operator)
    answered = _await(lambda: _answers(state, child), START_S)
    if not answered:
        raise CommandError(f"the supervisor did not start; its last words:\n{_tail(state)}")
    return Client.of(state)


def _spawn(state: State, *, operator: bool) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "borealis_local.supervisor", "--state", str(state.root)]
    with (state.logs / "supervisor.log").open("ab") as log:
        child = subprocess.Popen(
            command + ([] if operator else ["--no-operator"]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    _children[child.pid] = child
    return child


def _answers(state: State, child: "subprocess.Popen[bytes] | None") -> bool:
    if child is not None and child.poll() is not None:
        raise CommandError(f"the supervisor ended at once; its last words:\n{_tail(state)}")
    return read_identity(state) is not None and Client.of(state).is_up()


def _await(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(POLL_S)
    return False


def stop(state: State) -> bool:
    """End the supervisor and all that it runs; whether there was one."""
    pid = running(state)
    if not pid:
        return False
    os.kill(pid, signal.SIGTERM)
    if not _await(lambda: not _alive(pid), STOP_S):
        os.kill(pid, signal.SIGKILL)  # its shims see the end of their pipe, and kill what is left
        if not _await(lambda: not _alive(pid), STOP_S):
            raise CommandError(f"the supervisor (process {pid}) does not end")
    if child := _children.pop(pid, None):
        child.wait()
    return True


def _alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not collected does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def purge(state: State) -> None:
    """Remove the state directory; CommandError if it is not one."""
    if not state.root.exists():
        return
    if not state.identity.exists() and any(state.root.iterdir()):
        raise CommandError(f"{state.root} is no state directory of borealis local; not removed")
    shutil.rmtree(state.root)


def _tail(state: State, lines: int = 12) -> str:
    path = state.logs / "supervisor.log"
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])
