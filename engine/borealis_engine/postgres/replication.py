"""Logical replication out of the cluster: which roles may replicate, and what slots may keep and where.

PostgreSQL asks for the attribute REPLICATION, which only superusers give, so members of `names.REPLICATION` get it from
the agent. Its own bound on slots would hold for the log writer's too, whose slot must never be invalidated, so the
agent bounds the others. Invariants: a slot is on the writer only and dies with it, so no subscriber goes on over a
change of writer as if nothing had happened; no slot keeps more log than `Configuration.slot_limit` for long.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg
from psycopg import sql

from borealis_engine.contract.names import REPLICATION
from borealis_engine.postgres.settings import STANDBY_NAME, Configuration
from borealis_engine.postgres.sql import Door, Session, again_and_again, rows

log = logging.getLogger(__name__)
EVERY_S: Final = 2.0
TRIES: Final = 10  # for the log writer's slot, while others make and take slots
OPTIONS_SINCE: Final = 16  # PostgreSQL's major: a grant says whether it inherits; CREATEROLE alone grants no role
GROUP: Final = sql.Identifier(REPLICATION)
_ROLES: Final = """
    select rolname, wanted from (
        select a.rolname, a.rolreplication, a.rolcanlogin and ({member}) as wanted
        from pg_authid a, pg_authid g where g.rolname = %s and not a.rolsuper
    ) roles where wanted <> rolreplication order by rolname
"""
_MEMBER: Final = "pg_has_role(a.oid, g.oid, 'member')"
_MEMBER_BY_OPTION: Final = "pg_has_role(a.oid, g.oid, 'usage') or pg_has_role(a.oid, g.oid, 'set')"  # not ADMIN alone
_END_STRANGERS: Final = """
    select pg_terminate_backend(r.pid) from pg_stat_replication r join pg_authid a on a.oid = r.usesysid
    where not a.rolsuper and (not a.rolreplication or (
        r.state in ('catchup', 'streaming', 'backup')
        and not exists (select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')
    ))
"""  # roles that may replicate no more, and physical replication
_SLOTS: Final = "select slot_name from pg_replication_slots"
_LARGE: Final = """
    select slot_name from pg_replication_slots
    where slot_name <> %s and pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn) > %s
"""
_FREE: Final = """
    select pg_terminate_backend(active_pid, 2000) from pg_replication_slots
    where slot_name = %s and active_pid is not null
"""
_DROP: Final = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s"


async def keep_replicators(connection: Session, major: int, master: str) -> None:
    """Have exactly the members of the group, of those that log in, replicate; the master user may grant it.

    A role that an open transaction holds waits for the next time.
    """
    if not await rows(connection, "select from pg_roles where rolname = %s", (REPLICATION,)):
        await connection.execute(sql.SQL("create role {} nologin").format(GROUP))
    if major >= OPTIONS_SINCE:
        query = "select pg_has_role(%s, %s, 'member with admin option')"
        if await rows(connection, query, (master, REPLICATION)) != [(True,)]:
            grant = sql.SQL("grant {} to {} with admin true, inherit false, set false")
            await connection.execute(grant.format(GROUP, sql.Identifier(master)))
    member = _MEMBER_BY_OPTION if major >= OPTIONS_SINCE else _MEMBER
    for name, wanted in await rows(connection, _ROLES.format(member=member), (REPLICATION,)):
        change = sql.SQL("replication" if wanted else "noreplication")
        try:
            await connection.execute(sql.SQL("alter role {} {}").format(sql.Identifier(str(name)), change))
        except psycopg.errors.LockNotAvailable:
            log.warning("role %s cannot be changed: an open transaction holds it", name)
            continue
        log.info("role %s may replicate: %s", name, bool(wanted))


class Slots:
    """The slots of one PostgreSQL; `keep` watches them until cancelled."""

    def __init__(self, door: Door, configuration: Callable[[], Configuration]) -> None:
        self._door, self._configuration = door, configuration
        self._lock = asyncio.Lock()  # between the watch and a promotion

    async def keep(self) -> None:
        """Watch until cancelled; a session that is lost is opened anew."""
        await again_and_again(self._door, self.look, EVERY_S)

    async def look(self, connection: Session) -> None:
        """End physical replication, and drop what keeps too much log; on a reader, every slot."""
        async with self._lock:
            await connection.execute(_END_STRANGERS)
            configuration = self._configuration()
            if await rows(connection, "select pg_is_in_recovery()") != [(True,)]:
                limit = configuration.slot_limit
                for (name,) in await rows(connection, _LARGE, (STANDBY_NAME, limit)):
                    await _drop(connection, str(name), f"it keeps more than {limit >> 20} MB of log")
            elif not configuration.urgent:
                await _drop_all(connection)

    async def reserve(self, connection: Session) -> None:
        """Make the log writer's slot on a standby that is to be promoted; psycopg.Error if others keep it from that.

        Whatever bears its name or takes the last place was made by a role that may replicate.
        """
        async with self._lock:
            for left in reversed(range(TRIES)):
                await _drop_all(connection)
                try:
                    await connection.execute("select pg_create_physical_replication_slot(%s, true)", (STANDBY_NAME,))
                    return
                except (psycopg.errors.DuplicateObject, psycopg.errors.ConfigurationLimitExceeded):
                    if not left:
                        raise

    async def release(self, connection: Session) -> None:
        """Drop the log writer's slot: the standby stays one."""
        async with self._lock:
            await connection.execute(_DROP, (STANDBY_NAME,))


async def _drop_all(connection: Session) -> None:
    for (name,) in await rows(connection, _SLOTS):
        await _drop(connection, str(name), "readers keep none")


async def _drop(connection: Session, name: str, why: str) -> None:
    """Drop a slot, whoever uses it; one that is taken again at once is left to the next look."""
    await connection.execute(_FREE, (name,))
    with suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
        await connection.execute(_DROP, (name,))
        log.warning("replication slot %s is dropped: %s; see logical replication in docs/connect.md", name, why)
