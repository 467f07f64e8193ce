"""Commits that PostgreSQL let through although the volume had not acknowledged them. Pure.

A cancelled or terminated backend gives up its wait for the synchronous standby, and its commit becomes visible, and
is acknowledged to a client that was merely cancelled. PostgreSQL says so in its log and nowhere else; a writer that
said it is not kept, so that what readers and later clients see is again what a quorum holds.
"""

import re
from typing import Final

# SyncRepWaitForLSN, replication/syncrep.c, PostgreSQL 15 to 17; lc_messages is C. Lines of a longer message begin
# with a tab, so nobody's text stands where this one must.
_GIVEN_UP: Final = re.compile(r"WARNING:\s+canceling (?:the )?wait for synchronous replication\b")


def tells_of_unacknowledged_commit(line: str) -> bool:
    """Tell whether a line of PostgreSQL's log says that a commit no longer waits for the volume."""
    return _GIVEN_UP.match(line) is not None
