"""Where PostgreSQL's suites expect what Borealis refuses on purpose, and what it says instead.

An expected file beside the suite's own, as PostgreSQL itself has them for platforms that differ (`name_1.out`).
"""

from pathlib import Path
from typing import Final

ROLES: Final = ("read_server_files", "write_server_files", "execute_server_program")
GUARDED_SINCE: Final = 16  # PostgreSQL's own rule from there on
REFUSED: Final = "ERROR:  must be superuser to alter superusers"


def write(regress: Path, major: int) -> None:
    """Write what is expected besides into the unpacked suite."""
    if major >= GUARDED_SINCE:
        return
    expected = regress / "expected"
    (expected / "create_role_1.out").write_text(without_ways_out((expected / "create_role.out").read_text()))


def without_ways_out(text: str) -> str:
    """Give what create_role says where CREATEROLE grants no role that leads to programs and files of the server."""
    answers = {}
    for role in ROLES:
        made = f"regress_{role}"
        answers[f"CREATE ROLE {made} IN ROLE pg_{role};"] = REFUSED
        answers[f"DROP ROLE {made};"] = f'ERROR:  role "{made}" does not exist'
    lines = []
    for line in text.splitlines():
        lines += [line, answers[line]] if line in answers else [line]
    return "\n".join(lines) + "\n"
