"""`spec.extensions` on the writer: made where they are missing, never dropped; why one is not there is told.

Three rules, because the databases are users' and this session is the superuser's. A trusted extension is made in the
name of the master user, who owns it then and may drop it; only for others the superuser is the owner. What a
database's owner set for its sessions (`ALTER DATABASE ... SET role`) is taken back first. And no name is looked up
where users may put objects: `search_path` is pg_catalog until the script of the extension sets its own.
"""

from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg import sql

from borealis_engine.contract.extensions import extension_place, find_refusal
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.postgres.errors import ServerDied
from borealis_engine.postgres.sql import Door, Session, rows, session

SCHEMA: Final = "public"
PRELOADED: Final = frozenset({"pg_stat_statements"})  # of no use unless it is in shared_preload_libraries
WRAPPERS: Final = frozenset({"postgres_fdw"})  # bear the extension's name; a server upon one needs a grant
_OWN_AGAIN: Final = "set session authorization default; set role none; set lock_timeout = '2s'"
_ADMITS: Final = "select datallowconn from pg_database where datname = %s"
_THERE: Final = "select from pg_extension where extname = %s"
_TRUSTED: Final = """
    select v.trusted and has_database_privilege(%s, current_database(), 'create')
    from pg_available_extensions a join pg_available_extension_versions v
      on v.name = a.name and v.version = a.default_version
    where a.name = %s
"""
_GRANTED: Final = "select has_foreign_data_wrapper_privilege(%s, %s, 'usage with grant option')"
_LOADED: Final = "select %s = any(string_to_array(replace(current_setting('shared_preload_libraries'), ' ', ''), ','))"
_REMEDIES: Final = {
    "3F000": f"CREATE SCHEMA {SCHEMA}",
    "42710": "drop or rename the object that is there already",
    "42723": "drop or rename the function that is there already",
    "42P07": "drop or rename the relation that is there already",
    "55P03": "end the transaction that holds it",
}


async def ensure_extensions(door: Door, spec: DatabaseSpec) -> dict[str, str]:
    """Make what is missing; return for each one, by `extension_place`, why it cannot be used, empty if it can.

    ServerDied if PostgreSQL does not answer at all.
    """
    found = dict[str, str]()
    for database, names in sorted(spec.extensions.items()):
        amiss = await _find_obstacle(door, database)
        told = dict.fromkeys(names, amiss) if amiss else await _ensure_in(door, spec, database, names)
        found |= {extension_place(name, database): why for name, why in told.items()}
    return found


async def _find_obstacle(door: Door, database: str) -> str:
    """Return what keeps sessions out of a database; empty for nothing."""
    async with session(door) as connection:
        known = await rows(connection, _ADMITS, (database,))
    if not known:
        return f"there is no database {database}: create it, or name another"
    return (
        "" if known == [(True,)] else f"database {database} lets nobody in: ALTER DATABASE ... ALLOW_CONNECTIONS true"
    )


async def _ensure_in(door: Door, spec: DatabaseSpec, database: str, names: Sequence[str]) -> dict[str, str]:
    try:
        async with session(door, database) as connection:
            await connection.execute(_OWN_AGAIN)
            return {name: await _ensure(connection, spec, name) for name in names}
    except ServerDied as error:
        return dict.fromkeys(names, str(error))


async def _ensure(connection: Session, spec: DatabaseSpec, name: str) -> str:
    """Make one extension unless it is there; return why it cannot be used, empty if it can."""
    if why := find_refusal(name):
        return f"{why}; remove it from spec.extensions"
    try:
        if not await rows(connection, _THERE, (name,)):
            trusted = await rows(connection, _TRUSTED, (spec.master_username, name))
            if not trusted:
                return "this PostgreSQL does not have it: use the engine image, or install it where local mode runs"
            await _create(connection, spec, name, trusted=trusted == [(True,)])
        if name in WRAPPERS and await rows(connection, _GRANTED, (spec.master_username, name)) != [(True,)]:
            parts = sql.Identifier(name), sql.Identifier(spec.master_username)
            grant = sql.SQL("grant usage on foreign data wrapper {} to {} with grant option")
            await connection.execute(grant.format(*parts))
        if name in PRELOADED and await rows(connection, _LOADED, (name,)) != [(True,)]:
            return f"it is made, but works only once spec.parameters.shared_preload_libraries names {name}"
    except psycopg.Error as error:
        if connection.closed or error.sqlstate is None:
            raise
        remedy = _REMEDIES.get(error.sqlstate, "mend that")
        said = error.diag.message_primary or type(error).__name__
        return f"PostgreSQL says: {said}; {remedy}, it is tried again every minute"
    return ""


async def _create(connection: Session, spec: DatabaseSpec, name: str, *, trusted: bool) -> None:
    async with connection.transaction():
        if trusted:
            await connection.execute(sql.SQL("set local role {}").format(sql.Identifier(spec.master_username)))
        statement = sql.SQL("create extension if not exists {} with schema {}")
        await connection.execute(statement.format(sql.Identifier(name), sql.Identifier(SCHEMA)))
