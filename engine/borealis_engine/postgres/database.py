"""Master user and first database, made true in SQL on the writer; the volume then carries them to every instance.

The invariant: no password leaves this process in clear: PostgreSQL is given a SCRAM verifier, so its log can hold
none. The master user is no superuser, hence can make no external tablespace, which would be fatal in every replay.
"""

import base64
import hashlib
import hmac

import psycopg
from psycopg import sql

from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.postgres.errors import SpecInvalid
from borealis_engine.postgres.settings import SUPERUSER
from borealis_engine.postgres.sql import Door, Session, session

MEMBERSHIPS = ("pg_monitor", "pg_read_all_settings")
ITERATIONS = 100_000  # that are worth a check: it blocks the agent, and ours have 4096
ATTRIBUTES = sql.SQL("login createdb createrole nosuperuser noreplication nobypassrls")


async def apply_spec(door: Door, spec: DatabaseSpec) -> None:
    """Make the specification true; applying it twice writes nothing. SpecInvalid if PostgreSQL cannot have it so."""
    if spec.master_username == SUPERUSER:
        raise SpecInvalid(f"the name {SUPERUSER} is Borealis's own")
    try:
        async with session(door) as connection:
            await _make_role(connection, spec)
            if spec.database_name:
                await _make_database(connection, spec)
    except psycopg.Error as error:
        raise SpecInvalid(f"PostgreSQL refuses it: {error.diag.message_primary or type(error).__name__}") from None


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


async def _make_role(connection: Session, spec: DatabaseSpec) -> None:
    name = sql.Identifier(spec.master_username)
    known = await _one(connection, "select rolpassword from pg_authid where rolname = %s", spec.master_username)
    if known is None:
        await connection.execute(sql.SQL("create role {} {}").format(name, ATTRIBUTES))
    if known is None or not verifies(str(known[0]), spec.master_password):
        secret = connection.pgconn.encrypt_password(
            spec.master_password.encode(), spec.master_username.encode(), b"scram-sha-256"
        )
        await connection.execute(
            sql.SQL("alter role {} {} password {}").format(name, ATTRIBUTES, sql.Literal(secret.decode()))
        )
    for group in MEMBERSHIPS:
        held = await _one(connection, "select pg_has_role(%s, %s, 'member')", spec.master_username, group)
        if held != (True,):
            await connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), name))


async def _make_database(connection: Session, spec: DatabaseSpec) -> None:
    name, owner = sql.Identifier(spec.database_name), sql.Identifier(spec.master_username)
    query = "select pg_get_userbyid(datdba) from pg_database where datname = %s"
    known = await _one(connection, query, spec.database_name)
    if known is None:
        await connection.execute(sql.SQL("create database {} owner {}").format(name, owner))
    elif known != (spec.master_username,):
        await connection.execute(sql.SQL("alter database {} owner to {}").format(name, owner))


async def _one(connection: Session, query: str, *values: str) -> tuple[object, ...] | None:
    return await (await connection.execute(query.encode(), values)).fetchone()
