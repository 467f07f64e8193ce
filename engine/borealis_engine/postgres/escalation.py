"""The predefined roles that lead out of the database are nobody's but the superuser's to grant.

Sessions that run programs or read and write files on the server do so as PostgreSQL's operating system user: that
reaches the data directory, and in a pod the agent's keys. From PostgreSQL 16 on a role is granted only by a role that
holds it WITH ADMIN OPTION, and none holds these. Before that CREATEROLE suffices, except for roles of superusers
(AddRoleMems, commands/user.c), so these are marked as such. They cannot log in, and nobody is made a member.
"""

from typing import Final

from borealis_engine.postgres.sql import Session

GUARDED_SINCE: Final = 16  # PostgreSQL's major
ROLES: Final = ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"]
_OPEN: Final = "select from pg_authid where rolname = any(%s) and not rolsuper"
_LOCK: Final = "lock table pg_auth_members in share row exclusive mode"  # a GRANT under way would come after the mark
_TAKE_BACK: Final = """
    delete from pg_auth_members where roleid in (select oid from pg_authid where rolname = any(%s))
"""
_MARK: Final = "update pg_authid set rolsuper = true where rolname = any(%s)"


async def close_ways_out(connection: Session, major: int) -> None:
    """Keep roles with CREATEROLE from granting these, and revoke earlier grants; a second call writes nothing."""
    if major >= GUARDED_SINCE:
        return
    async with connection.transaction():
        if await (await connection.execute(_OPEN, (ROLES,))).fetchone() is not None:
            await connection.execute(_LOCK)
            await connection.execute(_TAKE_BACK, (ROLES,))
            await connection.execute(_MARK, (ROLES,))
