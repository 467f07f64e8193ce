"""As whom PostgreSQL runs: it refuses to be root, so a root agent drops privileges for it and for it alone.

The invariant: whatever PostgreSQL has to read or write is made by `own`, and lies where that user reaches it.
"""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from borealis_engine.postgres.errors import PlaceUnusable

PREFERRED: Final = ("postgres", "nobody", "daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user to become; None stands for staying who we are."""

    name: str
    uid: int
    gid: int


def choose_account() -> Account | None:
    """Give the account for PostgreSQL: none unless we are root, else `postgres` or another unprivileged one."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in PREFERRED:
        if name in known:
            return Account(name=name, uid=known[name].pw_uid, gid=known[name].pw_gid)
    raise PlaceUnusable(f"running as root, but none of the users {', '.join(PREFERRED)} exists to run PostgreSQL")


def own_name() -> str:
    """Give the name of the user that this process runs as; PlaceUnusable if it has none: PostgreSQL asks for it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise PlaceUnusable(
            f"user {os.geteuid()} has no name in /etc/passwd, by which PostgreSQL would know the agent; "
            "run as a user that has one"
        ) from error


def make_private(directory: Path, account: Account | None) -> None:
    """Make `directory` with mode 0700, owned by the account; the mount of a volume stays its maker's."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(0o700)
    if account is not None:
        os.chown(directory, account.uid, account.gid)


def own(directory: Path, account: Account | None) -> None:
    """Give a whole tree to the account."""
    if account is None:
        return
    os.chown(directory, account.uid, account.gid)
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            os.chown(Path(folder, name), account.uid, account.gid, follow_symlinks=False)


def require_reachable(directory: Path, account: Account | None, variable: str) -> None:
    """PlaceUnusable unless the account may pass through every parent of `directory`."""
    if account is None:
        return
    for parent in reversed(directory.resolve().parents):
        info = parent.stat()
        shift = 6 if info.st_uid == account.uid else 3 if info.st_gid == account.gid else 0
        if not info.st_mode >> shift & 1:
            raise PlaceUnusable(
                f"{variable}={directory}: user {account.name}, who runs PostgreSQL, may not enter {parent}; "
                f"choose another place or chmod o+x {parent}"
            )
