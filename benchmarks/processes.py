"""Child processes of a run, each of which ends with it.

Invariant: whatever way the run ends, no process that it started here goes on (PR_SET_PDEATHSIG); and every command that
is waited for has a deadline. Local mode's supervisor is none of these: it is ended by `borealis local down`.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from borealis_engine.postgres.account import Account

COMMAND_S: Final = 900.0
STOP_S: Final = 60.0
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG: Final = 1


class BenchmarkFailed(Exception):
    """A run cannot go on; the message says why, and what to do."""


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = COMMAND_S,
) -> str:
    """Run a command to its end and give its standard output; BenchmarkFailed with its last words otherwise."""
    process = _spawn(command, cwd=cwd, account=account, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        try:
            output, complaint = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkFailed(f"{command[0]} did not end within {timeout:.0f} s") from error
        finally:
            process.kill()
    if process.returncode != 0:
        said = complaint.decode(errors="replace")[-1500:]
        raise BenchmarkFailed(f"{command[0]} ended with {process.returncode}: {said}")
    return output.decode(errors="replace")


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a server; what it says goes to `log`."""
    with log.open("ab") as file:
        return _spawn(command, cwd=cwd, account=account, env=env, stdout=file.fileno(), stderr=file.fileno())


def end(process: "subprocess.Popen[bytes]", signum: signal.Signals = signal.SIGINT) -> None:
    """Ask a process to end, and kill it if it does not within STOP_S."""
    if process.poll() is None:
        process.send_signal(signum)
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _spawn(
    command: Sequence[str],
    *,
    cwd: Path,
    account: Account | None,
    env: Mapping[str, str] | None,
    stdout: int,
    stderr: int,
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        start_new_session=True,  # Ctrl-C reaches the run alone; and each is scheduled as if alone, as local mode's are
        preexec_fn=_die_with_parent,  # noqa: PLW1509 (one call of prctl, which takes no locks)
    )


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """Give ours without what would lead PostgreSQL's programs elsewhere, in plain English."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(extra or {})}


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
