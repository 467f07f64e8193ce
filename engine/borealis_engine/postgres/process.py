"""PostgreSQL as a child process: it dies with the agent, is stopped at once, and is never started twice.

The invariant: after `stop` returns, no process of this server runs any more, not even a backend that outlived its
postmaster; so nobody reads stale rows or writes WAL behind the back of the next writer.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from borealis_engine.postgres.account import Account
from borealis_engine.postgres.errors import CommandFailed, ServerDied
from borealis_engine.postgres.serverlog import ServerLog

STOP_GRACE_S: Final = 1.0
LOOK_S: Final = 0.02  # between two looks at a start on trial
KILL_SHARE: Final = 0.1  # of the lease: the writer's own lease ends at 0.8 of the nodes', so all is over by 0.95
_PR_SET_PDEATHSIG: Final = 1
_IPC_RMID: Final = 0
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_ours: set[int] = set()  # children that somebody here waits for


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment of PostgreSQL's programs: ours without the PG* variables, in plain English."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "BOREALIS_", "LC_"))}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(extra or {})}


def run(command: Sequence[str], account: Account | None, *, cwd: Path, stdin: bytes = b"", timeout: float = 60) -> str:
    """Run one of PostgreSQL's tools to its end and give its standard output; CommandFailed tells what it said."""
    try:
        process = _spawn(command, account, cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        output, complaint = _await_end(process, stdin, timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"{command[0]}: {error}") from error
    if process.returncode != 0:
        said = complaint.decode(errors="replace")[-2000:]
        raise CommandFailed(f"{command[0]} ended with {process.returncode}: {said}")
    return output.decode()


def try_start(command: Sequence[str], account: Account | None, *, data: Path, timeout: float) -> str | None:
    """Start a postmaster in `data`, and stop it once it is ready; None if it was, else what it said instead."""
    try:
        process = _spawn(command, account, data)
    except OSError as error:
        return f"{command[0]}: {error}"
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                _, said = process.communicate(timeout=LOOK_S)
                return said.decode(errors="replace")[-2000:]
            if _is_ready(data):
                return None
        return f"PostgreSQL was not ready after {timeout:g} s"
    finally:
        process.send_signal(signal.SIGQUIT)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=STOP_GRACE_S)
        end_all_in(data)
        process.communicate()
        _ours.discard(process.pid)
        release_memory(data)


def _is_ready(data: Path) -> bool:
    """Look at what the postmaster says of itself: line 8 of postmaster.pid."""
    with suppress(OSError, IndexError):
        return (data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
    return False


def choose_grace(lease: float) -> float:
    """Give how many seconds PostgreSQL may take to stop when a reign ends, so that it is gone within the lease."""
    return min(STOP_GRACE_S, KILL_SHARE * lease)


class Server:
    """One running postmaster. Made and used on the main thread only (its death signal is tied to that thread)."""

    def __init__(self, process: "subprocess.Popen[bytes]", data: Path, log: ServerLog) -> None:
        self.pid = process.pid
        self.died: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process = process
        self._data = data
        self._log = log
        self._doom: asyncio.TimerHandle | None = None  # of a shutdown that was begun
        self._pidfd = os.pidfd_open(process.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd, self._reap)

    @classmethod
    def start(
        cls, program: str, data: Path, account: Account | None, on_text: Callable[[str], object],
        on_given_up: Callable[[], object] = lambda: None, *, arguments: Sequence[str] = (),
    ) -> "Server":  # fmt: skip
        """Start `postgres -D data`. What it logs goes to `on_text` in pieces of whole lines, on another thread.

        `on_given_up` is called there when a backend has given up its wait for the synchronous standby.
        """
        process = _spawn([program, "-D", str(data), *arguments], account, data)
        assert process.stderr is not None
        log = ServerLog(process.stderr.fileno(), on_text, on_given_up)
        try:
            log.start()
        except RuntimeError as error:  # no thread can be made
            process.kill()
            raise ServerDied(f"PostgreSQL's log cannot be read: {error}") from error
        return cls(process, data, log)

    @property
    def alive(self) -> bool:
        """Whether the postmaster runs."""
        return not self.died.done()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster, if it still runs."""
        if self.alive:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def leave(self, patience: float) -> None:
        """Begin a fast shutdown, which tells clients why, and wait for its end, `patience` seconds at most."""
        self.signal(signal.SIGINT)
        await asyncio.wait({self.died}, timeout=patience)

    def shoot(self, grace: float = STOP_GRACE_S) -> None:
        """Begin an immediate shutdown; SIGKILL to whatever is left after `grace` seconds. The first call counts."""
        self.signal(signal.SIGQUIT)
        self.signal(signal.SIGCONT)
        if self._doom is None:
            self._doom = asyncio.get_running_loop().call_later(grace, self._slay)

    async def stop(self, grace: float = STOP_GRACE_S) -> None:
        """Shoot, and wait until nothing of this server runs. Idempotent."""
        self.shoot(grace)
        await self.died
        self._slay()
        release_memory(self._data)

    def _slay(self) -> None:
        if self._doom is not None:
            self._doom.cancel()
        self.signal(signal.SIGKILL)
        end_all_in(self._data)

    def _reap(self) -> None:
        code = self._process.wait()
        _ours.discard(self.pid)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._log.finish()
        assert self._process.stderr is not None
        self._process.stderr.close()
        if not self.died.done():
            self.died.set_result(code)


def end_all_in(directory: Path) -> None:
    """SIGKILL every process whose working directory is in `directory`, as that of each PostgreSQL process is."""
    place = os.fspath(directory.resolve())
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            cwd = os.readlink(entry / "cwd")
            if cwd == place or cwd.startswith(place + os.sep):
                os.kill(int(entry.name), signal.SIGKILL)


def release_memory(data: Path) -> None:
    """Remove the System V segment that a killed postmaster leaves behind: line 7 of postmaster.pid names it."""
    with suppress(OSError, IndexError, ValueError):
        segment = int((data / "postmaster.pid").read_text().splitlines()[6].split()[1])
        _LIBC.shmctl(segment, _IPC_RMID, None)


def reap_strangers() -> None:
    """As PID 1: reap the dead children that nobody here started, such as orphans of a shell in the container."""
    with suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in _ours:
            os.waitpid(dead.si_pid, os.WNOHANG)


def _spawn(
    command: Sequence[str],
    account: Account | None,
    cwd: Path,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 (one call of prctl, which takes no locks)
    )
    _ours.add(process.pid)
    return process


def _await_end(process: "subprocess.Popen[bytes]", stdin: bytes, timeout: float) -> tuple[bytes, bytes]:
    """Give what it wrote; TimeoutExpired, with the process killed, if it takes too long."""
    with process:
        try:
            return process.communicate(stdin, timeout=timeout)
        finally:
            process.kill()  # nothing, if it has ended
            process.wait()
            _ours.discard(process.pid)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
