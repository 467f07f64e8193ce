"""Master user and first database, made true in SQL on the writer; the volume then carries them to every instance.

Two rules. What creation makes, it makes once: how far it got is in the database cluster itself, as a comment on the
superuser's role, which no user may change; a first database that was renamed, dropped or given away afterwards stays
so. The master user is kept: the Secret lets in, whatever SQL did to the role since.

The invariant: no password leaves this process in clear: PostgreSQL is given a SCRAM verifier, so its log can hold
none. The master user is no superuser, hence can make no external tablespace, which would be fatal in every replay.
"""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
from psycopg import sql

from borealis_engine.contract.names import SUPERUSER
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.postgres.errors import SpecInvalid
from borealis_engine.postgres.escalation import close_ways_out
from borealis_engine.postgres.replication import keep_replicators
from borealis_engine.postgres.sql import Door, Session, rows, session

HOME: Final = "postgres"  # the agent's own sessions are there, so users never own it
CREATING: Final = "borealis: creation of master user and first database has begun"
CREATED: Final = "borealis: creation of master user and first database is complete"
LOCK_TIMEOUT: Final = "2s"  # a user's open transaction may hold what is to be changed for as long as it likes
MEMBERSHIPS = ("pg_monitor", "pg_read_all_settings")
ITERATIONS = 100_000  # that are worth a check: it blocks the agent, and ours have 4096
ATTRIBUTES = sql.SQL("login createdb createrole nosuperuser nobypassrls")
_ROLE: Final = """
    select rolpassword, not rolcanlogin, coalesce(rolvaliduntil <= now(), false), rolconnlimit = 0
    from pg_authid where rolname = %s
"""
_REMEDIES: Final = (sql.SQL("login"), sql.SQL("valid until 'infinity'"), sql.SQL("connection limit -1"))
_MARK: Final = "select shobj_description(oid, 'pg_authid') from pg_authid where rolname = %s"
_HOLDERS: Final = """
    select coalesce('process ' || pid, 'a prepared transaction') from pg_locks
    where locktype = 'relation' and relation = 'pg_authid'::regclass and mode = 'RowExclusiveLock' and granted
      and pid is distinct from pg_backend_pid()
"""
_ADMITS: Final = (
    "select datallowconn and has_database_privilege(%s, oid, 'connect') from pg_database where datname = %s"
)


async def apply_spec(door: Door, spec: DatabaseSpec) -> None:
    """Create what was never created, and keep the master user; SpecInvalid if PostgreSQL cannot have it so.

    A volume whose role is there without a mark was created by a release that left none: what it has is kept.
    """
    if not spec.master_password:  # a Secret that could not be read must not lock the master user out
        raise SpecInvalid("the specification has no password for the master user: see the Secret")
    if spec.master_username == SUPERUSER:
        raise SpecInvalid(
            f"the name {SUPERUSER} is Borealis's own; make a new cluster with another spec.masterUsername"
        )
    async with _patient(door, spec) as connection:
        await close_ways_out(connection, door.major)
        mark, known = await _one(connection, _MARK, SUPERUSER), await _one(connection, _ROLE, spec.master_username)
        begun = mark is not None and mark[0] in (CREATING, CREATED)
        adopted = not begun and known is not None
        async with connection.transaction():
            if not begun and not adopted:
                await _mark(connection, CREATING)
            await _keep_role(connection, spec)
            await _keep_memberships(connection, spec)
        await keep_replicators(connection, door.major, spec.master_username)
        if mark == (CREATED,):
            return
        if not spec.database_name:
            await _open_home(connection, spec)
        elif not adopted:
            await _make_database(connection, spec)
        await _mark(connection, CREATED)


async def keep_master(door: Door, spec: DatabaseSpec, verified: str = "") -> str:
    """Have the Secret let in again if SQL took that away; give the verifier in force. SpecInvalid says what is left.

    `verified` is a verifier that is known to be of the password: finding out anew takes milliseconds.
    """
    async with _patient(door, spec) as connection:
        verified = await _keep_role(connection, spec, verified)
        await keep_replicators(connection, door.major, spec.master_username)
        database = spec.database_name or HOME
        admits = await _one(connection, _ADMITS, spec.master_username, database)
        if admits is None:
            raise SpecInvalid(
                f"the Secret names database {database}, which was renamed or dropped, and is not made again: create "
                "or rename one to that name, or have applications name another"
            )
        if admits != (True,):
            raise SpecInvalid(f"database {database} does not let {spec.master_username} in: GRANT CONNECT, or "
                              "ALTER DATABASE ... ALLOW_CONNECTIONS true")  # fmt: skip
    return verified


def verifies(verifier: str, password: str) -> bool:
    """Whether a verifier (`SCRAM-SHA-256$iterations:salt$stored:server`) is of this password (RFC 5803).

    False too where finding out would take long: whoever set it can have chosen any number of iterations.
    """
    try:
        scheme, parameters, keys = verifier.split("$")
        iterations, salt = parameters.split(":")
        if int(iterations) > ITERATIONS:
            return False
        stored = base64.b64decode(keys.split(":")[0])
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    except ValueError:
        return False
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return scheme == "SCRAM-SHA-256" and hmac.compare_digest(hashlib.sha256(client_key).digest(), stored)


@asynccontextmanager
async def _patient(door: Door, spec: DatabaseSpec) -> AsyncIterator[Session]:
    """Open a session that waits for no user's lock for long; what PostgreSQL refuses becomes SpecInvalid."""
    async with session(door) as connection:
        try:
            await connection.execute(sql.SQL("set lock_timeout = {}").format(LOCK_TIMEOUT))
            yield connection
        except psycopg.errors.LockNotAvailable:
            raise SpecInvalid(await _name_holders(connection, spec)) from None
        except psycopg.Error as error:
            if connection.closed or error.sqlstate is None:
                raise
            raise SpecInvalid(f"PostgreSQL refuses it: {error.diag.message_primary or type(error).__name__}") from None


async def _name_holders(connection: Session, spec: DatabaseSpec) -> str:
    found = await rows(connection, _HOLDERS)
    holders = ", ".join(sorted({str(row[0]) for row in found})) or "a transaction that has ended meanwhile"
    return (
        f"the role {spec.master_username} cannot be changed: an open transaction holds it ({holders}); "
        "end it by COMMIT, ROLLBACK or pg_terminate_backend, or ROLLBACK PREPARED"
    )


async def _keep_role(connection: Session, spec: DatabaseSpec, verified: str = "") -> str:
    """Make the role, or undo what keeps its password from letting in; give the verifier in force."""
    name = sql.Identifier(spec.master_username)
    known = await _one(connection, _ROLE, spec.master_username)
    if known is None:
        await connection.execute(sql.SQL("create role {} {}").format(name, ATTRIBUTES))
        known = (None, False, False, False)
    amiss: list[sql.Composable] = [remedy for remedy, wrong in zip(_REMEDIES, known[1:], strict=True) if wrong]
    verifier = str(known[0])
    if verifier != verified and not verifies(verifier, spec.master_password):
        password, user = spec.master_password.encode(), spec.master_username.encode()
        verifier = connection.pgconn.encrypt_password(password, user, b"scram-sha-256").decode()
        amiss += [ATTRIBUTES, sql.SQL("password {}").format(sql.Literal(verifier))]
    if amiss:
        await connection.execute(sql.SQL("alter role {} {}").format(name, sql.SQL(" ").join(amiss)))
    return verifier


async def _keep_memberships(connection: Session, spec: DatabaseSpec) -> None:
    for group in MEMBERSHIPS:
        held = await _one(connection, "select pg_has_role(%s, %s, 'member')", spec.master_username, group)
        if held != (True,):
            parts = sql.Identifier(group), sql.Identifier(spec.master_username)
            await connection.execute(sql.SQL("grant {} to {}").format(*parts))


async def _make_database(connection: Session, spec: DatabaseSpec) -> None:
    """Create the first database unless an attempt that was cut short has."""
    if await _one(connection, "select from pg_database where datname = %s", spec.database_name) is None:
        names = sql.Identifier(spec.database_name), sql.Identifier(spec.master_username)
        await connection.execute(sql.SQL("create database {} owner {}").format(*names))


async def _open_home(connection: Session, spec: DatabaseSpec) -> None:
    """Give the master user all of `postgres` but the database itself, whose owner could shut the agent out."""
    names = sql.Identifier(HOME), sql.Identifier(spec.master_username)
    await connection.execute(sql.SQL("grant all on database {} to {} with grant option").format(*names))
    if await _one(connection, "select from pg_namespace where nspname = %s", "public") is not None:
        await connection.execute(sql.SQL("alter schema public owner to {}").format(names[1]))


async def _mark(connection: Session, stage: str) -> None:
    await connection.execute(sql.SQL("comment on role {} is {}").format(sql.Identifier(SUPERUSER), stage))


async def _one(connection: Session, query: str, *values: str) -> tuple[object, ...] | None:
    return await (await connection.execute(query.encode(), values)).fetchone()
