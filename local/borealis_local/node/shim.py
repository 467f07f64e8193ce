"""The init process of one container: whatever the container starts dies with it.

It stands in for a PID namespace. As a subreaper it inherits every orphan, also those that called setsid (PostgreSQL's
do), so that a container's processes are exactly its descendants. Orders come on standard input, a byte each: `T` asks
the main process to end, `K` kills everything; the end of the input (the kubelet died) means `K`.

It is run as a plain script with nothing but the standard library, so that it starts fast.
"""

import ctypes
import os
import select
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
MAX_KILL_ROUNDS = 2000


def become_subreaper() -> None:
    """Adopt orphaned descendants; OSError if the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int) -> list[int]:
    """Give the process ids beneath `root`, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parent = parent_of(int(entry))
            if parent is not None:
                children.setdefault(parent, []).append(int(entry))
    found = list(children.get(root, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def parent_of(pid: int) -> int | None:
    """Give the parent's process id, or None if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def spawn(argv: list[str]) -> int:
    """Start the main process in a session of its own; give its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.closerange(3, 256)
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"cannot run {argv[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def reap(main: int) -> int | None:
    """Collect dead children; give the main process's exit code once it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == main:
            exit_code = os.waitstatus_to_exitcode(status)
            code = exit_code if exit_code >= 0 else 128 - exit_code


def kill_all() -> None:
    """Kill descendants until there are none."""
    for _ in range(MAX_KILL_ROUNDS):
        found = descendants(os.getpid())
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.003)


def obey(main: int, wakeup: int) -> int:
    """Wait for the main process or for orders; give the exit code of the container."""
    waiting = [0, wakeup]
    while True:
        ready, _, _ = select.select(waiting, [], [])
        if wakeup in ready:
            os.read(wakeup, 4096)
            code = reap(main)
            if code is not None:
                return code
        if 0 in ready:
            orders = os.read(0, 64)
            if not orders or b"K" in orders:
                return 128 + signal.SIGKILL
            if b"T" in orders:
                os.kill(main, signal.SIGTERM)


def main(argv: list[str]) -> int:
    """Run a command as the main process of a container."""
    become_subreaper()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    code = obey(spawn(argv), reader)
    kill_all()
    return code


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
