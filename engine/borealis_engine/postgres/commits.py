"""Commits that PostgreSQL let through although the volume had not acknowledged them. Pure.

A cancelled or terminated backend gives up its wait for the synchronous standby, and its commit becomes visible, and
is acknowledged to a client that was merely cancelled. PostgreSQL says so in its log and nowhere else; a writer that
said it is not kept, so that what readers and later clients see is again what a quorum holds.
"""

import re
from typing import Final

# SyncRepWaitForLSN, replication/syncrep.c, PostgreSQL 15 to 17; lc_messages is C. Lines of a longer message begin
# with a tab, so a text that somebody logs is not mistaken for it. It can end another message's line: PostgreSQL's
# processes share a pipe, and one that waits for room in it has written half of a long line.
_WORDS: Final = r"WARNING:\s+canceling (?:the )?wait for synchronous replication\b"
_GIVEN_UP: Final = re.compile(rf"^{_WORDS}|(?<!^\t){_WORDS}[\w ]*$")


def tells_of_unacknowledged_commit(line: str) -> bool:
    """Tell whether a line of PostgreSQL's log says that a commit no longer waits for the volume."""
    return _GIVEN_UP.search(line) is not None
